//! Calls of functions.

use firetower_model::labels::NAME;
use firetower_model::{Labels, Matcher};
use promql_parser::label::MatchOp;
use promql_parser::parser::{Call, Expr};

use super::{Builder, matcher};
use crate::absent;
use crate::error::Error;
use crate::function::Function;
use crate::histogram::HistogramFunction;
use crate::info::{Enrichment, TARGET_INFO};
use crate::operator::Operator;
use crate::plan::{Plan, Range, Scalar, Vector};
use crate::relabel::Relabelling;
use crate::sort::Order;
use crate::text::PLACEHOLDER;
use crate::window::WindowFunction;

impl Builder {
    /// The parser has checked how many arguments there are.
    pub(super) fn call(self, parsed: &Call) -> Result<Plan, Error> {
        let name = parsed.func.name;
        let arguments: Vec<&Expr> = parsed.args.args.iter().map(AsRef::as_ref).collect();
        if let Some(scalar) = self.scalar_call(name, &arguments)? {
            return Ok(Plan::Scalar(scalar));
        }
        if let Some(function) = WindowFunction::find(name) {
            return Ok(Plan::Vector(self.windows(function, &arguments)?));
        }
        if let Some(function) = Function::find(name) {
            let of = match arguments.first() {
                None if function.is_of_time => Vector::Of(Scalar::Time),
                None => return Err(Error::syntax(format!("{name} needs an argument"))),
                Some(first) => self.vector(first)?,
            };
            let arguments = self.scalars(arguments.get(1..).unwrap_or_default())?;
            return Ok(Plan::Vector(Vector::Map { function, arguments, of: Box::new(of) }));
        }
        Ok(Plan::Vector(self.vector_call(name, &arguments)?))
    }

    fn scalars(self, arguments: &[&Expr]) -> Result<Vec<Scalar>, Error> {
        arguments.iter().map(|argument| self.scalar(argument)).collect()
    }

    fn texts(self, arguments: &[&Expr]) -> Result<Vec<String>, Error> {
        arguments.iter().map(|argument| self.text(argument)).collect()
    }

    fn scalar_call(self, name: &str, arguments: &[&Expr]) -> Result<Option<Scalar>, Error> {
        Ok(Some(match (name, arguments) {
            ("time", []) => Scalar::Time,
            ("start", []) => Scalar::Start,
            ("end", []) => Scalar::End,
            ("step", []) => Scalar::Step,
            ("range", []) => Scalar::Length,
            ("pi", []) => Scalar::Number(std::f64::consts::PI),
            ("scalar", [of]) => Scalar::Only(Box::new(self.vector(of)?)),
            ("min_of" | "max_of", [left, right]) => Scalar::Binary {
                operator: if name == "min_of" { Operator::Least } else { Operator::Greatest },
                left: Box::new(self.scalar(left)?),
                right: Box::new(self.scalar(right)?),
            },
            _ => return Ok(None),
        }))
    }

    fn windows(self, function: &'static WindowFunction, arguments: &[&Expr]) -> Result<Vector, Error> {
        let (mut range, mut scalars) = (None, Vec::new());
        for argument in arguments {
            match self.plan(argument)? {
                Plan::Range(found) if range.is_none() => range = Some(found),
                Plan::Scalar(scalar) => scalars.push(scalar),
                other => return Err(super::expected("range vector", &other)),
            }
        }
        let range = range.ok_or_else(|| Error::syntax(format!("{} needs a range vector", function.name)))?;
        Ok(Vector::Windows { function, arguments: scalars, range })
    }

    fn vector_call(self, name: &str, arguments: &[&Expr]) -> Result<Vector, Error> {
        let boxed = |argument: &Expr| self.vector(argument).map(Box::new);
        Ok(match (name, arguments) {
            ("vector", [scalar]) => Vector::Of(self.scalar(scalar)?),
            ("timestamp", [of]) => match self.vector(of)? {
                Vector::Newest(selector) => Vector::SampleTimes(selector),
                of => Vector::EvaluationTimes(Box::new(of)),
            },
            ("absent", [of]) => {
                let of = self.vector(of)?;
                let labels = match &of {
                    Vector::Newest(selector) => absent::labels_of(&selector.matchers),
                    _ => Labels::empty(),
                };
                Vector::Absent { labels, of: Box::new(of) }
            }
            ("absent_over_time", [range]) => self.absent_over_time(range)?,
            ("sort" | "sort_desc", [of]) => {
                Vector::Sort { order: Order::Values { is_descending: name == "sort_desc" }, of: boxed(of)? }
            }
            ("sort_by_label" | "sort_by_label_desc", [of, names @ ..]) => {
                let order = Order::Labels { names: self.texts(names)?, is_descending: name == "sort_by_label_desc" };
                Vector::Sort { order, of: boxed(of)? }
            }
            ("label_replace", [of, to, template, from, pattern]) => {
                let (to, template) = (self.text(to)?, self.text(template)?);
                let relabelling = Relabelling::replace(to, template, self.text(from)?, &self.text(pattern)?)?;
                Vector::Relabel { relabelling, of: boxed(of)? }
            }
            ("label_join", [of, to, separator, from @ ..]) => {
                let relabelling = Relabelling::join(self.text(to)?, self.text(separator)?, self.texts(from)?)?;
                Vector::Relabel { relabelling, of: boxed(of)? }
            }
            ("histogram_quantile", [quantile, of]) => {
                Vector::Histogram { function: HistogramFunction::Quantile(self.scalar(quantile)?), of: boxed(of)? }
            }
            ("histogram_quantiles", [of, label, quantiles @ ..]) => {
                let function =
                    HistogramFunction::Quantiles { label: self.text(label)?, quantiles: self.scalars(quantiles)? };
                Vector::Histogram { function, of: boxed(of)? }
            }
            ("histogram_fraction", [lower, upper, of]) => {
                let function = HistogramFunction::Fraction(self.scalar(lower)?, self.scalar(upper)?);
                Vector::Histogram { function, of: boxed(of)? }
            }
            ("info", [of]) => self.info(of, None)?,
            ("info", [of, selector]) => self.info(of, Some(selector))?,
            ("histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev" | "histogram_stdvar", _) => {
                return Err(Error::Unsupported { what: format!("{name}, which is of native histograms,") });
            }
            _ => return Err(Error::Unsupported { what: name.into() }),
        })
    }

    fn absent_over_time(self, range: &Expr) -> Result<Vector, Error> {
        let range = self.range(range)?;
        let labels = match &range {
            Range::Selector { selector, .. } => absent::labels_of(&selector.matchers),
            Range::Subquery { .. } => Labels::empty(),
        };
        let function = WindowFunction::find("present_over_time")
            .ok_or_else(|| Error::Unsupported { what: "absent_over_time".into() })?;
        let of = Box::new(Vector::Windows { function, arguments: Vec::new(), range });
        Ok(Vector::Absent { labels, of })
    }

    fn info(self, of: &Expr, selector: Option<&&Expr>) -> Result<Vector, Error> {
        let of = self.vector(of)?;
        let shift = of.first_selector().map(|selector| selector.shift).unwrap_or_default();
        let mut enrichment = Enrichment { names: Vec::new(), data: Vec::new(), shift };
        let mut is_named = false;
        if let Some(selector) = selector {
            let Expr::VectorSelector(parsed) = selector else {
                return Err(Error::syntax("expected label selectors as the second argument to \"info\" function"));
            };
            let name = parsed.name.iter().map(|name| Matcher::equal(NAME, name));
            enrichment.names.extend(name);
            is_named = parsed.name.is_some();
            for one in parsed.matchers.matchers.iter().filter(|one| one.name != PLACEHOLDER) {
                if one.name == NAME {
                    is_named |= matches!(one.op, MatchOp::Equal | MatchOp::Re(_));
                    enrichment.names.push(matcher(one)?);
                } else {
                    enrichment.data.push(matcher(one)?);
                }
            }
        }
        if !is_named {
            enrichment.names.push(Matcher::equal(NAME, TARGET_INFO));
        }
        Ok(Vector::Info { enrichment, of: Box::new(of) })
    }
}
