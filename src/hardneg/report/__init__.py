"""Result tables, plots and the HTML page."""
