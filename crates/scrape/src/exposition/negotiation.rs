//! Which format a target is asked for, and which it answers in.
//!
//! Source: Prometheus 3 `scrape/scrape.go`, `acceptHeader`; `model/textparse/interface.go`, `extractMediaType`.

use std::fmt::Write;

use super::Format;

/// Weight of the format asked for first, in tenths; each that follows has one less, and "anything" comes last.
const FIRST_WEIGHT: usize = 6;

/// A format and version to ask a target for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OpenMetrics 1.0.0.
    OpenMetrics1,
    /// OpenMetrics 0.0.1, read as 1.0.0.
    OpenMetrics0,
    /// Prometheus text 1.0.0: names may be any UTF-8.
    Text1,
    /// Prometheus text 0.0.4.
    Text0,
}

impl Protocol {
    /// Returns the format that its pages are read in.
    pub fn format(self) -> Format {
        match self {
            Protocol::OpenMetrics1 | Protocol::OpenMetrics0 => Format::OpenMetrics,
            Protocol::Text1 | Protocol::Text0 => Format::Text,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Protocol::OpenMetrics1 => "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
            Protocol::OpenMetrics0 => "application/openmetrics-text;version=0.0.1",
            Protocol::Text1 => "text/plain;version=1.0.0;escaping=allow-utf-8",
            Protocol::Text0 => "text/plain;version=0.0.4",
        }
    }
}

/// Returns the header `Accept` that asks for `protocols`, the best first, and for anything else after them.
pub fn accept(protocols: &[Protocol]) -> String {
    let mut header = String::new();
    let mut weight = FIRST_WEIGHT;
    for protocol in protocols.iter().take(FIRST_WEIGHT - 1) {
        write!(header, "{};q=0.{weight},", protocol.media_type()).expect("writing to a string cannot fail");
        weight -= 1;
    }
    write!(header, "*/*;q=0.{weight}").expect("writing to a string cannot fail");
    header
}

/// What an answer's `Content-Type` says of its page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// A format that can be read.
    Known(Format),
    /// Nothing.
    Missing,
    /// Something else, as it was written.
    Unsupported(String),
}

impl MediaType {
    /// Reads a `Content-Type`.
    pub fn of_content_type(content_type: &str) -> MediaType {
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            MediaType::Known(Format::OpenMetrics)
        } else if media_type.eq_ignore_ascii_case("text/plain") {
            MediaType::Known(Format::Text)
        } else if content_type.trim().is_empty() {
            MediaType::Missing
        } else {
            MediaType::Unsupported(content_type.to_owned())
        }
    }

    /// Returns the format to read the page in, which is `fallback` if this names none that can be read.
    ///
    /// # Errors
    /// If there is no such format and no `fallback`.
    pub fn format(self, fallback: Option<Format>) -> Result<Format, UnknownFormat> {
        match (self, fallback) {
            (MediaType::Known(format), _) | (_, Some(format)) => Ok(format),
            (MediaType::Missing, None) => Err(UnknownFormat::Missing),
            (MediaType::Unsupported(content_type), None) => Err(UnknownFormat::Unsupported { content_type }),
        }
    }
}

/// Why it is not known in which format a page is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownFormat {
    /// The answer does not say.
    #[error("the answer has no Content-Type, and no fallback_scrape_protocol is specified for the target")]
    Missing,
    /// It says something that is no format of pages.
    #[error(
        "received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol is specified for the target"
    )]
    Unsupported {
        /// As it was written.
        content_type: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_asked_for_as_prometheus_does() {
        let check = |protocols: &[Protocol], expected: &str| assert_eq!(accept(protocols), expected);
        check(
            &[Protocol::OpenMetrics1, Protocol::OpenMetrics0, Protocol::Text1, Protocol::Text0],
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        );
        check(&[Protocol::Text0], "text/plain;version=0.0.4;q=0.6,*/*;q=0.5");
        check(&[], "*/*;q=0.6");
    }

    #[test]
    fn a_page_is_read_in_the_format_that_it_names_or_else_in_the_fallback() {
        let check = |content_type: &str, fallback, expected: Result<Format, &str>| {
            let found = MediaType::of_content_type(content_type).format(fallback).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{content_type:?}");
        };
        check("text/plain", None, Ok(Format::Text));
        check("Text/Plain ; version=0.0.4; charset=utf-8", None, Ok(Format::Text));
        check("application/openmetrics-text; version=1.0.0", Some(Format::Text), Ok(Format::OpenMetrics));
        check("", Some(Format::OpenMetrics), Ok(Format::OpenMetrics));
        check("text/html", Some(Format::Text), Ok(Format::Text));
        let missing = "the answer has no Content-Type, and no fallback_scrape_protocol is specified for the target";
        check(" ", None, Err(missing));
        let other = "received unsupported Content-Type \"text/html; charset=utf-8\" and no fallback_scrape_protocol is \
                     specified for the target";
        check("text/html; charset=utf-8", None, Err(other));
    }
}
