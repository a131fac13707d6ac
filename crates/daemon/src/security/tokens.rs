//! Bearer tokens, and what their bearers may do.

use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

use super::TokenFiles;
use super::error::SecurityError;
use super::files::Followed;

/// How long a token is: shorter ones can be guessed, longer ones are no tokens.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=1_024;

/// What a bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    Read,
    Operate,
}

/// All tokens; they are never shown.
pub(super) struct Tokens(Vec<(Vec<u8>, Right)>);

impl Tokens {
    /// Reads the files, to look at them again and again.
    pub(super) fn follow(files: TokenFiles) -> Result<Followed<Tokens>, SecurityError> {
        let paths: Vec<PathBuf> = files.read.iter().chain(&files.operate).cloned().collect();
        let (read, named) = (files.read.len(), paths.clone());
        Followed::open(paths, move |texts| {
            let mut tokens = Vec::new();
            for (at, (path, text)) in named.iter().zip(texts).enumerate() {
                let right = if at < read { Right::Read } else { Right::Operate };
                tokens.extend(parse(path, text)?.into_iter().map(|token| (token, right)));
            }
            Ok(Tokens(tokens))
        })
    }

    /// Returns what the bearer of `shown` may do; `None` for a token that is nobody's.
    ///
    /// It takes as long whatever `shown` says, but for its length.
    pub(super) fn right_of(&self, shown: &[u8]) -> Option<Right> {
        let mut found = None;
        for (token, right) in &self.0 {
            if bool::from(token.as_slice().ct_eq(shown)) {
                found = found.max(Some(*right));
            }
        }
        found
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Vec<u8>>, SecurityError> {
    let mut tokens = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let token = line.trim_ascii();
        if token.is_empty() {
            continue;
        }
        // RFC 6750, 2.1.
        let is_plain = token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte));
        if !is_plain || !TOKEN_BYTES.contains(&token.len()) {
            let (least, most) = (*TOKEN_BYTES.start(), *TOKEN_BYTES.end());
            return Err(SecurityError::Token { path: path.to_owned(), line: at + 1, least, most });
        }
        tokens.push(token.to_vec());
    }
    if tokens.is_empty() {
        return Err(SecurityError::Missing { path: path.to_owned(), what: "token" });
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_alone_on_their_lines_and_never_shown() {
        let check = |text: &str, expected: Result<usize, &str>| {
            let read = parse(Path::new("t"), text.as_bytes());
            let read = read.map(|tokens| tokens.len()).map_err(|error| error.to_string());
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        };
        let rule =
            |line: usize| format!("t:{line}: a token is 16 to 1024 letters, digits and -._~+/=, alone on its line");
        check("0123456789abcdef", Ok(1));
        check("0123456789abcdef\n\n  ABCDEFGHIJKLMNOP-._~+/= \r\n", Ok(2));
        check("\n", Err("t holds no token"));
        check("0123456789abcdef\nsecret\n", Err(&rule(2)));
        check("0123456789 abcdef", Err(&rule(1)));
        check(&"a".repeat(1_025), Err(&rule(1)));
    }

    #[test]
    fn a_token_that_is_in_both_roles_may_all() {
        let tokens = Tokens(vec![
            (b"both".to_vec(), Right::Operate),
            (b"both".to_vec(), Right::Read),
            (b"one".to_vec(), Right::Read),
        ]);
        let check = |shown: &str, expected| assert_eq!(tokens.right_of(shown.as_bytes()), expected, "{shown}");
        check("both", Some(Right::Operate));
        check("one", Some(Right::Read));
        check("on", None);
        check("one ", None);
        check("", None);
    }
}
