//! Functions of one value.

mod calendar;

/// A function of each value of a vector.
#[derive(Debug)]
pub(crate) struct Function {
    /// As it is written.
    pub name: &'static str,
    /// Takes the value and the scalar arguments, returns a value or [`ABSENT`](crate::ABSENT).
    pub apply: fn(f64, &[f64]) -> f64,
    /// Whether `time()` stands in for a vector that is not given.
    pub is_of_time: bool,
}

/// The unary minus.
pub(crate) const NEGATIVE: Function = Function::new("-", |value, _| -value);

const TABLE: &[Function] = &[
    Function::new("abs", |value, _| value.abs()),
    Function::new("ceil", |value, _| value.ceil()),
    Function::new("floor", |value, _| value.floor()),
    Function::new("exp", |value, _| value.exp()),
    Function::new("sqrt", |value, _| value.sqrt()),
    Function::new("ln", |value, _| value.ln()),
    Function::new("log2", |value, _| value.log2()),
    Function::new("log10", |value, _| value.log10()),
    Function::new("sin", |value, _| value.sin()),
    Function::new("cos", |value, _| value.cos()),
    Function::new("tan", |value, _| value.tan()),
    Function::new("asin", |value, _| value.asin()),
    Function::new("acos", |value, _| value.acos()),
    Function::new("atan", |value, _| value.atan()),
    Function::new("sinh", |value, _| value.sinh()),
    Function::new("cosh", |value, _| value.cosh()),
    Function::new("tanh", |value, _| value.tanh()),
    Function::new("asinh", |value, _| value.asinh()),
    Function::new("acosh", |value, _| value.acosh()),
    Function::new("atanh", |value, _| value.atanh()),
    Function::new("rad", |value, _| value * std::f64::consts::PI / 180.0),
    Function::new("deg", |value, _| value * 180.0 / std::f64::consts::PI),
    Function::new("sgn", |value, _| match value {
        value if value > 0.0 => 1.0,
        value if value < 0.0 => -1.0,
        value => value,
    }),
    Function::new(
        "clamp",
        |value, bounds| if bounds[1] < bounds[0] { crate::ABSENT } else { clamp(value, bounds[0], bounds[1]) },
    ),
    Function::new("clamp_min", |value, bounds| clamp(value, bounds[0], f64::INFINITY)),
    Function::new("clamp_max", |value, bounds| clamp(value, f64::NEG_INFINITY, bounds[0])),
    Function::new("round", round),
];

impl Function {
    const fn new(name: &'static str, apply: fn(f64, &[f64]) -> f64) -> Function {
        Function { name, apply, is_of_time: false }
    }

    const fn of_time(self) -> Function {
        Function { is_of_time: true, ..self }
    }

    /// Returns the function that is written `name`.
    pub(crate) fn find(name: &str) -> Option<&'static Function> {
        [TABLE, calendar::TABLE].into_iter().flatten().find(|function| function.name == name)
    }
}

/// Returns `value` within the bounds; NaN if any of the three is.
fn clamp(value: f64, least: f64, most: f64) -> f64 {
    if value.is_nan() || least.is_nan() || most.is_nan() { f64::NAN } else { least.max(most.min(value)) }
}

/// Rounds half up, to whole numbers or to multiples of the argument.
fn round(value: f64, to_nearest: &[f64]) -> f64 {
    let inverse = 1.0 / to_nearest.first().copied().unwrap_or(1.0);
    (value * inverse + 0.5).floor() / inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_a_value() {
        let check = |name: &str, value: f64, arguments: &[f64], expected: f64| {
            let found = (Function::find(name).unwrap().apply)(value, arguments);
            let is_same = found == expected || found.is_nan() && expected.is_nan();
            assert!(is_same, "{name}({value}, {arguments:?}) = {found}");
        };
        check("sgn", -0.5, &[], -1.0);
        check("sgn", 7.0, &[], 1.0);
        check("sgn", f64::INFINITY, &[], 1.0);
        check("sgn", 0.0, &[], 0.0);
        check("sgn", f64::NAN, &[], f64::NAN);
        check("round", -2.5, &[], -2.0);
        check("round", 2.17, &[0.5], 2.0);
        check("clamp", 7.0, &[1.0, 5.0], 5.0);
        check("clamp_min", f64::NAN, &[1.0], f64::NAN);
        check("day_of_year", 1_483_191_420.0, &[], 366.0);
        check("days_in_month", 1_454_284_800.0, &[], 29.0);
        check("day_of_week", 0.0, &[], 4.0);
        check("year", -1.0, &[], 1969.0);
        check("minute", 1_136_239_445.0, &[], 4.0);
    }
}
