import pytest

from churn.drops.violations import SHOWN, DropRejected, Violations


def test_no_violation_is_no_error():
    violations = Violations()
    assert not violations
    violations.raise_if_any("2024-01-31")


def test_the_error_names_the_drop_file_line_column_value_and_rule():
    violations = Violations()
    violations.add("users.csv", "a rule", line=7, column="user_id", value="x'y")
    violations.add("users.csv", "the file in the drop")
    with pytest.raises(DropRejected) as error:
        violations.raise_if_any("2024-01-31")
    assert str(error.value) == (
        "drop 2024-01-31 rejected, nothing of it is loaded:\n"
        'users.csv, line 7, column user_id: "x\'y": expected a rule\n'
        "users.csv: expected the file in the drop"
    )


def test_the_first_twenty_of_each_rule_in_a_column_are_named_and_the_others_counted():
    violations = Violations()
    for line in range(2, 32):
        violations.add("users.csv", "a rule", line=line, column="a", value="x")
        violations.add("users.csv", "a rule", line=line, column="b", value="x")
    violations.count("users.csv", "a rule", column="a", more=1000)
    lines = str(violations).splitlines()
    assert len(lines) == 2 * (SHOWN + 1) == 42
    assert lines[19:21] == [
        "users.csv, line 21, column a: 'x': expected a rule",
        "users.csv, column a: … and 1010 more, expected a rule",
    ]
    assert lines[-1] == "users.csv, column b: … and 10 more, expected a rule"


def test_the_error_without_values_names_place_rule_and_count_and_no_value():
    violations = Violations()
    for line in range(7, 37):
        violations.add("users.csv", "a rule", line=line, column="user_id", value=f"id-{line}", note="line 9 has 'id-x'")
    violations.add("labels.csv", "another rule", line=2, value=b"id-1,true")
    violations.count("users.csv", "a third rule", column="user_id", more=3)
    violations.add("payments.csv", "the file in the drop")
    with pytest.raises(DropRejected) as error:
        violations.raise_if_any("2024-01-31")
    assert error.value.without_values == (
        "drop 2024-01-31 rejected, nothing of it is loaded; values are in the task's log:\n"
        "users.csv, line 7, column user_id: expected a rule, and 29 more\n"
        "labels.csv, line 2: expected another rule\n"
        "users.csv, column user_id: expected a third rule, and 2 more\n"
        "payments.csv: expected the file in the drop"
    )


def test_a_rejection_without_violations_has_one_text():
    error = DropRejected("the date is after today")
    assert error.without_values == str(error) == "the date is after today"


def test_a_count_of_zero_is_no_violation():
    violations = Violations()
    violations.count("users.csv", "a rule", more=0)
    assert not violations


def test_a_long_value_is_quoted_in_part():
    violations = Violations()
    violations.add("users.csv", "a rule", line=2, value="x" * 1000)
    assert str(violations) == f"users.csv, line 2: '{'x' * 80}…': expected a rule"


def test_bytes_that_are_not_text_and_control_characters_are_quoted_readably():
    violations = Violations()
    violations.add("users.csv", "a rule", line=2, value=b"a\xff\n\x00")
    assert "\n" not in str(violations)
    assert r"\xff" in str(violations)
    assert r"\x00" in str(violations)
