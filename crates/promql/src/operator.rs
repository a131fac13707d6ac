//! Binary operators on numbers.

use crate::curve::ABSENT;

/// An operator between two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    /// `min_of`, `max_of`: NaN wins.
    Least,
    Greatest,
}

/// An operator between sets of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOperator {
    And,
    Or,
    Unless,
}

impl Operator {
    /// Returns the operator that is written `text`.
    pub(crate) fn parse(text: &str) -> Option<Operator> {
        Some(match text {
            "+" => Operator::Add,
            "-" => Operator::Subtract,
            "*" => Operator::Multiply,
            "/" => Operator::Divide,
            "%" => Operator::Modulo,
            "^" => Operator::Power,
            "atan2" => Operator::Atan2,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" => Operator::GreaterOrEqual,
            "<=" => Operator::LessOrEqual,
            _ => return None,
        })
    }

    /// Returns how it is written between two operands.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Modulo => "%",
            Operator::Power => "^",
            Operator::Atan2 => "atan2",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Greater => ">",
            Operator::Less => "<",
            Operator::GreaterOrEqual => ">=",
            Operator::LessOrEqual => "<=",
            Operator::Least => "min_of",
            Operator::Greatest => "max_of",
        }
    }

    /// Tells whether it is written as a function of two scalars.
    pub(crate) fn is_function(self) -> bool {
        matches!(self, Operator::Least | Operator::Greatest)
    }

    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Operator::Equal
                | Operator::NotEqual
                | Operator::Greater
                | Operator::Less
                | Operator::GreaterOrEqual
                | Operator::LessOrEqual
        )
    }

    /// Tells whether a result is another quantity than its operands, so that it has not their name.
    pub(crate) fn drops_name(self, is_bool: bool) -> bool {
        is_bool || !self.is_comparison()
    }

    /// Returns the number; for a comparison 1 or 0.
    #[inline]
    pub(crate) fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide => left / right,
            Operator::Modulo => left % right,
            Operator::Power => left.powf(right),
            Operator::Atan2 => left.atan2(right),
            Operator::Least => choose(left, right, left < right),
            Operator::Greatest => choose(left, right, left > right),
            _ => f64::from(u8::from(self.holds(left, right))),
        }
    }

    /// Returns what a step of a vector becomes: for a comparison without `bool`, `kept` if it holds and else nothing.
    #[inline]
    pub(crate) fn apply_or_filter(self, left: f64, right: f64, is_bool: bool, kept: f64) -> f64 {
        if is_bool || !self.is_comparison() {
            return self.apply(left, right);
        }
        if self.holds(left, right) { kept } else { ABSENT }
    }

    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Operator::Equal => left == right,
            Operator::NotEqual => left != right,
            Operator::Greater => left > right,
            Operator::Less => left < right,
            Operator::GreaterOrEqual => left >= right,
            Operator::LessOrEqual => left <= right,
            _ => false,
        }
    }
}

fn choose(left: f64, right: f64, is_left: bool) -> f64 {
    if left.is_nan() || right.is_nan() {
        f64::NAN
    } else if is_left {
        left
    } else {
        right
    }
}

impl SetOperator {
    /// Returns the operator that is written `text`.
    pub(crate) fn parse(text: &str) -> Option<SetOperator> {
        match text {
            "and" => Some(SetOperator::And),
            "or" => Some(SetOperator::Or),
            "unless" => Some(SetOperator::Unless),
            _ => None,
        }
    }
}
