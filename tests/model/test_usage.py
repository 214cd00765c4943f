"""The SDK's usage as rows of ours."""

from agents.usage import Usage
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from agents_sessions.model.totals import ContextStats
from agents_sessions.model.usage import TOKENS, RequestRow, TokenUsage, UsageMark, rows_since, sum_rows

START = UsageMark()


def spent(requests=1, read=10, cached=4, wrote=5, thought=2, total=15, kept=3):
    return Usage(
        requests=requests,
        input_tokens=read,
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=kept),
        output_tokens=wrote,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=thought),
        total_tokens=total,
    )


def row(requests=1, read=10, cached=4, wrote=5, thought=2, total=15, kept=3):
    return {
        "requests": requests,
        "input_tokens": read,
        "cached_tokens": cached,
        "cache_write_tokens": kept,
        "output_tokens": wrote,
        "reasoning_tokens": thought,
        "total_tokens": total,
    }


def grown(*parts):
    usage = Usage()
    for part in parts:
        usage.add(part)
    return usage


def test_each_request_is_a_row():
    usage = grown(spent(), spent(read=20, cached=8, wrote=7, thought=3, total=27))
    assert rows_since(START, usage) == [row(), row(read=20, cached=8, wrote=7, thought=3, total=27)]


def test_what_was_spent_before_a_mark_is_in_no_row():
    usage = grown(spent(), spent())
    mark = UsageMark.of(usage)
    usage.add(spent(read=20, total=25))
    assert rows_since(mark, usage) == [row(read=20, total=25)]


def test_no_growth_is_no_row():
    usage = grown(spent())
    assert rows_since(UsageMark.of(usage), usage) == []


def test_a_request_that_reported_no_tokens_is_a_row_without_tokens():
    assert rows_since(START, grown(spent(1, 0, 0, 0, 0, 0, 0))) == [row(1, 0, 0, 0, 0, 0, 0)]


def test_what_the_sdk_does_not_itemise_is_one_last_row():
    usage = grown(spent(), spent(requests=3, read=100, cached=40, wrote=50, thought=20, total=150, kept=30))
    assert rows_since(START, usage) == [row(), row(3, 100, 40, 50, 20, 150, 30)]


def test_items_that_say_more_than_the_totals_leave_nothing_over():
    usage = grown(spent())
    usage.total_tokens = 3
    assert rows_since(START, usage) == [row()]


def test_a_mark_has_all_that_was_spent():
    assert UsageMark.of(grown(spent(), spent())) == (TokenUsage(**row(2, 20, 8, 10, 4, 30, 6)), 2)


COUNTS = st.integers(0, 1000)
PARTS = st.lists(st.builds(spent, st.integers(0, 3), COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS), max_size=4)


@given(PARTS, PARTS)
def test_rows_add_up_to_what_was_spent_since_the_mark(before, after):
    usage = grown(*before)
    mark = UsageMark.of(usage)
    for part in after:
        usage.add(part)
    assert mark.spent + sum_rows(rows_since(mark, usage)) == TokenUsage.of(usage)


def test_a_usage_of_the_sdk_that_is_new_is_where_marks_begin():
    assert UsageMark.of(Usage()) == START


# --- the columns ---


def test_every_form_of_usage_has_the_same_columns():
    assert set(row()) == set(TOKENS)
    assert set(TOKENS) <= set(RequestRow.__annotations__) & set(ContextStats.__dataclass_fields__)


def test_usage_is_added_and_subtracted_column_by_column():
    some, more = TokenUsage(**row(1, 10, 4, 5, 2, 15, 3)), TokenUsage(**row(2, 20, 1, 7, 0, 27, 5))
    assert some + more == TokenUsage(**row(3, 30, 5, 12, 2, 42, 8))
    assert some + more - more == some


def test_a_column_below_zero_can_be_cut_off():
    assert TokenUsage(requests=-1, input_tokens=2).at_least_zero() == TokenUsage(input_tokens=2)


@given(st.lists(st.builds(row, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS), max_size=4))
def test_a_sum_is_a_row_again(rows):
    assert sum_rows(rows).row() == {name: sum(each[name] for each in rows) for name in TOKENS}


def test_details_that_a_provider_leaves_out_are_zero():
    usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
    usage.input_tokens_details = usage.output_tokens_details = None
    assert rows_since(START, usage) == [row(cached=0, thought=0, kept=0)]


def test_a_row_from_before_a_column_was_counted_has_none_of_it():
    old = row()
    del old["cache_write_tokens"]
    assert sum_rows([old, row()]).cache_write_tokens == 3
