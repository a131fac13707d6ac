//! Selectors where only selectors are taken, as in `match[]`.

use firetower_model::Matcher;
use firetower_promql::Query;

use crate::error::Error;

/// Reads `text` as a plain selector without a time of its own.
///
/// # Errors
/// [`Error::Promql`] if it does not read, [`Error::NotSelector`] if it is more than that.
pub(crate) fn matchers(text: &str) -> Result<Vec<Matcher>, Error> {
    let query = Query::parse(text)?;
    let selection = query.as_selection().filter(|selection| selection.is_plain);
    selection.map(|selection| selection.matchers.to_vec()).ok_or_else(|| Error::NotSelector { value: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_become_matchers() {
        let check = |text: &str, expected: &[&str]| {
            let names: Vec<String> = matchers(text)
                .unwrap_or_else(|error| panic!("{text}: {error}"))
                .iter()
                .map(|matcher| format!("{}={}", matcher.name(), matcher.equal_value().unwrap_or("~")))
                .collect();
            assert_eq!(names, expected, "{text}");
        };
        check("up", &["__name__=up"]);
        check("(up)", &["__name__=up"]);
        check("up{job=\"x\",a!~\"b\"}", &["__name__=up", "job=x", "a=~"]);
        check("{\"dotted.name\", 'é'=`b`}", &["__name__=dotted.name", "é=b"]);
        check("sum{by=\"x\"}", &["__name__=sum", "by=x"]);
    }

    #[test]
    fn the_rest_is_refused_with_a_reason() {
        let check = |text: &str, expected: &str| {
            let error = matchers(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("rate(up[5m])", "\"rate(up[5m])\" is not a plain selector");
        check("up[5m]", "is not a plain selector");
        check("up offset 5m", "is not a plain selector");
        check("up @ 1", "is not a plain selector");
        check("{a=\"b\" or c=\"d\"}", "`or` between matchers");
        check("up{", "unexpected");
        check("{}", "at least one");
        check("{a=~\".*\"}", "at least one");
        check("up{a=~\"(\"}", "illegal regex");
    }
}
