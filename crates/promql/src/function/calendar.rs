//! Parts of a date, in UTC.

use super::Function;

pub(super) const TABLE: &[Function] = &[
    Function::new("minute", |seconds, _| of(seconds, |second| second.div_euclid(60).rem_euclid(60))).of_time(),
    Function::new("hour", |seconds, _| of(seconds, |second| second.div_euclid(3_600).rem_euclid(24))).of_time(),
    Function::new("day_of_week", |seconds, _| of(seconds, |second| (day(second) + 4).rem_euclid(7))).of_time(),
    Function::new("day_of_month", |seconds, _| of(seconds, |second| date(day(second)).2)).of_time(),
    Function::new("day_of_year", |seconds, _| {
        of(seconds, |second| day(second) - first_day(date(day(second)).0, 1) + 1)
    })
    .of_time(),
    Function::new("days_in_month", |seconds, _| {
        of(seconds, |second| {
            let (year, month, _) = date(day(second));
            let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            first_day(next_year, next) - first_day(year, month)
        })
    })
    .of_time(),
    Function::new("month", |seconds, _| of(seconds, |second| date(day(second)).1)).of_time(),
    Function::new("year", |seconds, _| of(seconds, |second| date(day(second)).0)).of_time(),
];

/// How far from 1970 a date may be, in seconds: some 30,000 years.
const SECONDS_MAX: f64 = 1e12;

/// Returns a part of the date `seconds` after 1970; NaN where there is no date.
fn of(seconds: f64, part: impl Fn(i64) -> i64) -> f64 {
    if seconds.abs() <= SECONDS_MAX { part(seconds as i64) as f64 } else { f64::NAN }
}

fn day(second: i64) -> i64 {
    second.div_euclid(86_400)
}

/// Returns year, month and day of the month of the day `day` days after 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn date(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted_month + 2) / 5 + 1)
}

/// Returns how many days after 1970-01-01 a month begins; the reverse of [`date`].
fn first_day(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}
