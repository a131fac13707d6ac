use super::*;
use crate::kahan::{Mean, Sum};
use crate::plan::Plan;
use crate::query::Query;

fn part(text: &str) -> Option<String> {
    match Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).plan {
        Plan::Vector(Vector::Aggregate { operation, grouping, of }) if operation.part(&grouping, &of).is_some() => {
            operation.part(&grouping, &of)
        }
        Plan::Vector(vector) => vector.part(),
        _ => None,
    }
}

#[test]
fn parts_are_written_so_that_they_read_again() {
    let check = |text: &str, expected: &str| assert_eq!(part(text).as_deref(), Some(expected), "{text}");
    check("up", "{__name__=\"up\"}");
    check(
        "sum by (job, \"é.x\") (rate(m{a!~\"b\\\\.c|\\\"\"}[5m] offset -1h))",
        "sum by (job, \"é.x\") (rate({__name__=\"m\",a!~\"b\\\\.c|\\\"\"}[300000ms] offset -3600000ms))",
    );
    check("count(up == 0)", "count by () (({__name__=\"up\"}) == (0.0))");
    check("topk without (a) (3, -m @ end())", "topk without (a) (3.0, -({__name__=\"m\"} @ end()))");
    check("quantile(0.9, m @ 1.5)", "quantile by () (0.9, {__name__=\"m\"} @ 1.500)");
    check("2 ^ m > bool (1 < bool time())", "((2.0) ^ ({__name__=\"m\"})) > bool ((1.0) < bool (time()))");
    check(
        "max_over_time(clamp(m, -Inf, 2e300)[1h:5m])",
        "max_over_time((clamp({__name__=\"m\"}, -Inf, 2e300))[3600000ms:300000ms])",
    );
    check("quantile_over_time(0.5, m[1h])", "quantile_over_time(0.5, {__name__=\"m\"}[3600000ms])");
    check("limit_ratio(0.5, timestamp(m))", "limit_ratio by () (0.5, timestamp({__name__=\"m\"}))");
    check("count_values(\"v\", m)", "count_values by () (\"v\", {__name__=\"m\"})");
}

#[test]
fn what_needs_all_series_is_no_part() {
    let check = |text: &str| assert_eq!(part(text), None, "{text}");
    check("a + b");
    check("sum(a / b)");
    check("sum(sum by (x) (a))");
    check("topk(scalar(n), m)");
    check("rate({a=\"b\"}[5m])");
    check("label_replace(m, \"a\", \"b\", \"c\", \"d\")");
    check("vector(1)");
    check(&format!("m{{a=\"{}\"}}", "x".repeat(5_000)));
}

#[test]
fn what_is_known_of_two_groups_is_that_of_both() {
    let values = [1.5, -2.0, 1e100, 7.0, -1e100, 0.25];
    for cut in 1..values.len() {
        let (left, right) = values.split_at(cut);
        let mean = |values: &[f64]| {
            let mut mean = Mean::of(values[0]);
            values[1..].iter().for_each(|value| mean.add(*value));
            mean
        };
        let mut both = mean(left);
        let mut numbers = Vec::new();
        mean(right).write(&mut numbers);
        both.merge(Mean::read(&numbers));
        assert_eq!(both.value(), mean(&values).value(), "cut at {cut}");
        let mut sum = Sum::default();
        left.iter().for_each(|value| sum.add(*value));
        let mut other = Sum::default();
        right.iter().for_each(|value| other.add(*value));
        sum.merge(other);
        assert_eq!(sum.value(), 6.75, "cut at {cut}");
    }
    let huge = f64::MAX / 1.5;
    let mut mean = Mean::of(huge);
    mean.merge(Mean::of(huge));
    mean.merge(Mean::of(huge));
    assert!((mean.value() / huge - 1.0).abs() < 1e-15, "{mean:?}");
}
