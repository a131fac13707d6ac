//! From the parser's tree to a plan.

mod calls;

use std::time::{Duration, UNIX_EPOCH};

use firetower_model::labels::NAME;
use firetower_model::{Matcher, is_stale};
use promql_parser::label::{MatchOp, Matcher as ParsedMatcher};
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinaryExpr, Expr, LabelModifier, Offset, VectorMatchCardinality, VectorSelector,
};

use crate::aggregate::{Grouping, Operation};
use crate::error::Error;
use crate::function::NEGATIVE;
use crate::matching::{Cardinality, Matching};
use crate::operator::{Operator, SetOperator};
use crate::plan::{Fixed, Plan, Range, Scalar, Selector, Shift, Vector};

/// Checks `expression`, of which at most `depth` levels may be nested.
pub(crate) fn build(expression: &Expr, depth: u64) -> Result<Plan, Error> {
    Builder { left: depth, most: depth }.plan(expression)
}

/// How many more levels there may be.
#[derive(Clone, Copy)]
struct Builder {
    left: u64,
    most: u64,
}

impl Builder {
    fn deeper(self) -> Result<Builder, Error> {
        let left = self.left.checked_sub(1).ok_or(Error::TooMany { what: "nested levels", most: self.most })?;
        Ok(Builder { left, ..self })
    }

    fn plan(self, expression: &Expr) -> Result<Plan, Error> {
        let below = self.deeper()?;
        Ok(match expression {
            Expr::Paren(inner) => return below.plan(&inner.expr),
            Expr::NumberLiteral(number) if is_stale(number.val) => Plan::Scalar(Scalar::Number(f64::NAN)),
            Expr::NumberLiteral(number) => Plan::Scalar(Scalar::Number(number.val)),
            Expr::StringLiteral(text) => Plan::Text(text.val.clone()),
            Expr::VectorSelector(parsed) => Plan::Vector(Vector::Newest(selector(parsed)?)),
            Expr::MatrixSelector(parsed) => {
                Plan::Range(Range::Selector { selector: selector(&parsed.vs)?, range_ms: length(parsed.range)? })
            }
            Expr::Subquery(parsed) => Plan::Range(Range::Subquery {
                of: Box::new(below.vector(&parsed.expr)?),
                range_ms: length(parsed.range)?,
                step_ms: parsed.step.map(length).transpose()?,
                shift: shift(parsed.offset.as_ref(), parsed.at.as_ref()),
            }),
            Expr::Unary(parsed) => match below.plan(&parsed.expr)? {
                Plan::Scalar(of) => Plan::Scalar(Scalar::Negative(Box::new(of))),
                Plan::Vector(of) => {
                    Plan::Vector(Vector::Map { function: &NEGATIVE, arguments: Vec::new(), of: Box::new(of) })
                }
                other => return Err(expected("scalar or instant vector", &other)),
            },
            Expr::Binary(parsed) => below.binary(parsed)?,
            Expr::Aggregate(parsed) => Plan::Vector(below.aggregate(parsed)?),
            Expr::Call(parsed) => below.call(parsed)?,
            Expr::Extension(_) => return Err(Error::syntax("an expression of no kind")),
        })
    }

    fn vector(self, expression: &Expr) -> Result<Vector, Error> {
        match self.plan(expression)? {
            Plan::Vector(vector) => Ok(vector),
            other => Err(expected("instant vector", &other)),
        }
    }

    fn scalar(self, expression: &Expr) -> Result<Scalar, Error> {
        match self.plan(expression)? {
            Plan::Scalar(scalar) => Ok(scalar),
            other => Err(expected("scalar", &other)),
        }
    }

    fn range(self, expression: &Expr) -> Result<Range, Error> {
        match self.plan(expression)? {
            Plan::Range(range) => Ok(range),
            other => Err(expected("range vector", &other)),
        }
    }

    fn text(self, expression: &Expr) -> Result<String, Error> {
        match self.plan(expression)? {
            Plan::Text(text) => Ok(text),
            other => Err(expected("string", &other)),
        }
    }

    fn binary(self, parsed: &BinaryExpr) -> Result<Plan, Error> {
        let symbol = parsed.op.to_string();
        let (left, right) = (self.plan(&parsed.lhs)?, self.plan(&parsed.rhs)?);
        let is_bool = parsed.return_bool();
        if let Some(operator) = SetOperator::parse(&symbol) {
            let (Plan::Vector(left), Plan::Vector(right)) = (left, right) else {
                return Err(Error::syntax(format!("set operator {symbol:?} not allowed in binary scalar expression")));
            };
            let matching = matching(parsed)?;
            return Ok(Plan::Vector(Vector::Set { operator, matching, left: Box::new(left), right: Box::new(right) }));
        }
        let operator = Operator::parse(&symbol).ok_or_else(|| Error::syntax(format!("unknown operator {symbol:?}")))?;
        let with_scalar = |of, scalar, is_scalar_left| {
            Plan::Vector(Vector::WithScalar { operator, is_bool, of: Box::new(of), scalar, is_scalar_left })
        };
        Ok(match (left, right) {
            (Plan::Scalar(_), Plan::Scalar(_)) if operator.is_comparison() && !is_bool => {
                return Err(Error::syntax("comparisons between scalars must use BOOL modifier"));
            }
            (Plan::Scalar(left), Plan::Scalar(right)) => {
                Plan::Scalar(Scalar::Binary { operator, left: Box::new(left), right: Box::new(right) })
            }
            (Plan::Vector(of), Plan::Scalar(scalar)) => with_scalar(of, scalar, false),
            (Plan::Scalar(scalar), Plan::Vector(of)) => with_scalar(of, scalar, true),
            (Plan::Vector(left), Plan::Vector(right)) => {
                let matching = matching(parsed)?;
                let (left, right) = (Box::new(left), Box::new(right));
                Plan::Vector(Vector::Match { operator, is_bool, matching, left, right })
            }
            _ => return Err(Error::syntax("binary expression must contain only scalar and instant vector types")),
        })
    }

    fn aggregate(self, parsed: &AggregateExpr) -> Result<Vector, Error> {
        let symbol = parsed.op.to_string();
        let parameter =
            || parsed.param.as_deref().ok_or_else(|| Error::syntax(format!("{symbol} needs two arguments")));
        let operation = match symbol.as_str() {
            "sum" => Operation::Sum,
            "avg" => Operation::Average,
            "min" => Operation::Least,
            "max" => Operation::Greatest,
            "count" => Operation::Count,
            "group" => Operation::Group,
            "stdvar" => Operation::Variance,
            "stddev" => Operation::Deviation,
            "quantile" => Operation::Quantile(self.scalar(parameter()?)?),
            "topk" => Operation::Best { count: self.scalar(parameter()?)?, is_top: true },
            "bottomk" => Operation::Best { count: self.scalar(parameter()?)?, is_top: false },
            "limitk" => Operation::Some(self.scalar(parameter()?)?),
            "limit_ratio" => Operation::Share(self.scalar(parameter()?)?),
            "count_values" => {
                let label = self.text(parameter()?)?;
                if !crate::relabel::is_label(&label) {
                    return Err(Error::argument(format!("invalid label name {label:?}")));
                }
                Operation::CountValues(label)
            }
            _ => return Err(Error::syntax(format!("unknown aggregation {symbol:?}"))),
        };
        let (is_by, names) = named(parsed.modifier.as_ref(), true);
        Ok(Vector::Aggregate {
            operation,
            grouping: Grouping { is_by, names },
            of: Box::new(self.vector(&parsed.expr)?),
        })
    }
}

/// Returns whether labels are listed as those that count, and the list.
fn named(modifier: Option<&LabelModifier>, default: bool) -> (bool, Vec<String>) {
    let is_include = modifier.map_or(default, LabelModifier::is_include);
    (is_include, modifier.map(|modifier| modifier.labels().labels.clone()).unwrap_or_default())
}

fn matching(parsed: &BinaryExpr) -> Result<Matching, Error> {
    let Some(modifier) = &parsed.modifier else {
        return Ok(Matching { is_on: false, names: Vec::new(), cardinality: Cardinality::OneToOne });
    };
    if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
        return Err(Error::Unsupported { what: "`fill`".into() });
    }
    let (is_on, names) = named(modifier.matching.as_ref(), false);
    let cardinality = match &modifier.card {
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => Cardinality::OneToOne,
        VectorMatchCardinality::ManyToOne(taken) => Cardinality::ManyToOne(taken.labels.clone()),
        VectorMatchCardinality::OneToMany(taken) => Cardinality::OneToMany(taken.labels.clone()),
    };
    Ok(Matching { is_on, names, cardinality })
}

fn selector(parsed: &VectorSelector) -> Result<Selector, Error> {
    if !parsed.matchers.or_matchers.is_empty() {
        return Err(Error::Unsupported { what: "`or` between matchers".into() });
    }
    let mut matchers: Vec<Matcher> = parsed.name.iter().map(|name| Matcher::equal(NAME, name)).collect();
    for one in &parsed.matchers.matchers {
        matchers.push(matcher(one)?);
    }
    Ok(Selector { matchers: matchers.into(), shift: shift(parsed.offset.as_ref(), parsed.at.as_ref()) })
}

/// Compiles again what the parser compiled: its own expressions do not let `.` match a newline.
fn matcher(parsed: &ParsedMatcher) -> Result<Matcher, Error> {
    let (name, value) = (parsed.name.as_str(), parsed.value.as_str());
    let compiled = match parsed.op {
        MatchOp::Equal => Ok(Matcher::equal(name, value)),
        MatchOp::NotEqual => Ok(Matcher::not_equal(name, value)),
        MatchOp::Re(_) => Matcher::regex(name, value),
        MatchOp::NotRe(_) => Matcher::not_regex(name, value),
    };
    compiled.map_err(|error| Error::syntax(error.to_string()))
}

fn shift(offset: Option<&Offset>, at: Option<&AtModifier>) -> Shift {
    let offset_ms = match offset {
        None => 0,
        Some(Offset::Pos(by)) => millis(*by),
        Some(Offset::Neg(by)) => -millis(*by),
    };
    let fixed = at.map(|at| match at {
        AtModifier::Start => Fixed::Start,
        AtModifier::End => Fixed::End,
        AtModifier::At(at) => Fixed::At(match at.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        }),
    });
    Shift { fixed, offset_ms }
}

/// Rounds: what was written in seconds came through floating point.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.saturating_add(Duration::from_micros(500)).as_millis()).unwrap_or(i64::MAX)
}

fn length(duration: Duration) -> Result<i64, Error> {
    match millis(duration) {
        0 => Err(Error::syntax("duration must be greater than 0")),
        length => Ok(length),
    }
}

fn expected(what: &str, found: &Plan) -> Error {
    let found = match found {
        Plan::Scalar(_) => "scalar",
        Plan::Vector(_) => "instant vector",
        Plan::Range(_) => "range vector",
        Plan::Text(_) => "string",
    };
    Error::syntax(format!("expected type {what}, got {found}"))
}
