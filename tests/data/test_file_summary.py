from hardneg.data.file_summary import FileSummary, file_notes
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


def test_lines_say_how_a_file_was_understood():
    summary = FileSummary("comma", '"', "utf-8", {"user_id": "customer", "item_id": "item_id"}, ["qty"], "Unix seconds")
    summary.add_times(0.0, 86_399.5)
    summary.remarks.append("a remark")
    assert list(summary.lines()) == [
        'delimiter comma, quote ", encoding utf-8',
        "columns user_id = customer, item_id",
        "unused qty",
        "times Unix seconds, 1970-01-01 00:00:00 to 1970-01-01 23:59:59",
        "a remark",
    ]
    assert list(FileSummary().lines()) == []


def test_times_outside_the_calendar_are_shown_as_numbers():
    assert list(FileSummary(time_format="x", first_time=-1e18, last_time=1e300).lines()) == [
        "times x, -1e+18 to 1e+300"
    ]
    assert file_notes({"a": FileSummary(delimiter=";")}) == {"a": {"delimiter": ";"}}
