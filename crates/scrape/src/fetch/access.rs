//! How a server is asked, ready for use: one for each distinct [`HttpAccess`], shared by all its targets.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use firetower_daemon::blocking;
use firetower_model::{Authorization, HttpAccess, Secret};
use tokio::time::Instant;

use super::files::Files;
use super::proxy::{EnvironmentProxies, Proxies};
use super::tls::{Tls, TlsKeys};
use crate::error::{AccessError, Error};

/// How often it is looked whether a file of secrets has changed.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How large a file of secrets may be.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// What all servers are asked with; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Accesses {
    tls: Tls,
    folder: PathBuf,
    environment: EnvironmentProxies,
    known: Arc<Mutex<HashMap<HttpAccess, Weak<Access>>>>,
}

impl Accesses {
    pub(super) fn new(tls: Tls, folder: PathBuf, environment: EnvironmentProxies) -> Accesses {
        Accesses { tls, folder, environment, known: Arc::default() }
    }

    /// Returns how to ask as `wanted` says, which is kept as long as somebody holds it.
    pub(super) fn of(&self, wanted: &HttpAccess) -> Result<Arc<Access>, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(access) = known.get(wanted).and_then(Weak::upgrade) {
            return Ok(access);
        }
        known.retain(|_, access| access.strong_count() > 0);
        let proxies = Proxies::new(&wanted.proxy, &self.environment)?;
        let source = Source { wanted: wanted.clone(), folder: self.folder.clone(), tls: self.tls.clone() };
        let (keys, files) = source.read(None);
        let state = Mutex::new(State { keys, files, checked: Instant::now() });
        let access = Arc::new(Access { source, proxies, state });
        known.insert(wanted.clone(), Arc::downgrade(&access));
        Ok(access)
    }
}

/// How a server is asked.
pub(super) struct Access {
    source: Source,
    pub(super) proxies: Proxies,
    state: Mutex<State>,
}

struct State {
    keys: Result<Arc<Keys>, Arc<AccessError>>,
    files: Files,
    checked: Instant,
}

/// What requests carry besides what is asked for.
#[derive(Debug)]
pub(super) struct Keys {
    /// Header lines that are only for the host asked first.
    pub(super) confidential: Box<[u8]>,
    /// All other header lines.
    pub(super) headers: Box<[u8]>,
    /// Header lines for a proxy that is asked to connect.
    pub(super) connect: Box<[u8]>,
    /// How TLS is agreed on.
    pub(super) tls: TlsKeys,
}

impl Access {
    /// Returns what requests carry now. Files are looked at again every few seconds, and read again if they changed.
    pub(super) fn keys(&self) -> Result<Arc<Keys>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.files.is_empty() && state.checked.elapsed() >= CHECK_EVERY {
            state.checked = Instant::now();
            if blocking(|| state.files.have_changed()) {
                let before = state.keys.as_ref().ok().map(Arc::clone);
                (state.keys, state.files) = blocking(|| self.source.read(before.as_deref()));
            }
        }
        state.keys.clone().map_err(Error::Access)
    }

    pub(super) fn follows_redirects(&self) -> bool {
        self.source.wanted.follow_redirects
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({:?})", self.source.wanted)
    }
}

/// What keys are made of.
struct Source {
    wanted: HttpAccess,
    folder: PathBuf,
    tls: Tls,
}

impl Source {
    /// Reads all files and makes keys of them; TLS stays as it was `before` if its files say the same.
    fn read(&self, before: Option<&Keys>) -> (Result<Arc<Keys>, Arc<AccessError>>, Files) {
        let mut secrets = Secrets { folder: &self.folder, files: Files::default() };
        let keys = self.make(&mut secrets, before).map(Arc::new).map_err(Arc::new);
        (keys, secrets.files)
    }

    fn make(&self, secrets: &mut Secrets<'_>, before: Option<&Keys>) -> Result<Keys, AccessError> {
        let mut confidential = match &self.wanted.authorization {
            None => String::new(),
            Some(Authorization::Basic { username, password }) => {
                let pair = format!("{}:{}", secrets.text(username)?, secrets.text(password)?);
                format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(pair))
            }
            Some(Authorization::Credentials { scheme, credentials }) => {
                line("Authorization", &format!("{scheme} {}", secrets.text(credentials)?))?
            }
        };
        let mut headers = String::new();
        for (name, values) in &self.wanted.headers {
            let lines = if is_confidential(name) { &mut confidential } else { &mut headers };
            lines.push_str(&secrets.lines(name, values)?);
        }
        let mut connect = String::new();
        for (name, values) in &self.wanted.proxy.connect_headers {
            connect.push_str(&secrets.lines(name, values)?);
        }
        let wanted = &self.wanted.tls;
        let mut pem = |secret: &Option<Secret>| secret.as_ref().map(|secret| secrets.text(secret)).transpose();
        let (ca, cert, key) = (pem(&wanted.ca)?, pem(&wanted.cert)?, pem(&wanted.key)?);
        let tls = self.tls.keys(wanted, ca, cert, key, before.map(|keys| &keys.tls))?;
        let bytes = |text: String| text.into_bytes().into_boxed_slice();
        Ok(Keys { confidential: bytes(confidential), headers: bytes(headers), connect: bytes(connect), tls })
    }
}

/// Reads secrets and remembers their files.
struct Secrets<'a> {
    folder: &'a Path,
    files: Files,
}

impl Secrets<'_> {
    fn text(&mut self, secret: &Secret) -> Result<String, AccessError> {
        let path = match secret {
            Secret::Text(text) => return Ok(text.clone()),
            Secret::File(path) => self.folder.join(path),
        };
        self.files.note(path.clone());
        let read = fs::metadata(&path).and_then(|found| match found.len() {
            0..=SECRET_BYTES_MAX => fs::read_to_string(&path),
            _ => Err(std::io::ErrorKind::FileTooLarge.into()),
        });
        match read {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(source) => Err(AccessError::File { path, source }),
        }
    }

    fn lines(&mut self, name: &str, values: &[Secret]) -> Result<String, AccessError> {
        values.iter().map(|value| line(name, &self.text(value)?)).collect()
    }
}

/// Returns a header line. A value may hold nothing that ends the line early.
fn line(name: &str, value: &str) -> Result<String, AccessError> {
    if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(AccessError::Header { name: name.into() });
    }
    Ok(format!("{name}: {value}\r\n"))
}

/// Tells whether a header is for the host asked first only.
///
/// Source: Go `net/http/client.go`, `shouldCopyHeaderOnRedirect`.
fn is_confidential(name: &str) -> bool {
    ["authorization", "www-authenticate", "cookie", "cookie2", "proxy-authorization", "proxy-authenticate"]
        .iter()
        .any(|confidential| name.eq_ignore_ascii_case(confidential))
}
