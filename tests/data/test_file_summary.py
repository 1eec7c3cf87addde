from hardneg.data.file_summary import FileSummary
from hardneg.data.row_report import RowCounter


def test_times_extend_the_range():
    summary = FileSummary()
    summary.add_times(None, None)
    summary.add_times(20.0, 30.0)
    summary.add_times(10.0, 25.0)
    assert (summary.first_time, summary.last_time) == (10.0, 30.0)


def test_notes_leave_out_what_does_not_apply():
    assert FileSummary(delimiter=";", first_time=0.0).notes() == {"delimiter": ";", "first_time": 0.0}


def test_a_counter_has_one_summary_per_file():
    counter = RowCounter()
    counter.file("a.csv").delimiter = "|"
    assert counter.file("a.csv").delimiter == "|"
    assert list(counter.files) == ["a.csv"]
