//! The paths in a job.

use std::path::{Path, PathBuf};

use firetower_model::{Authorization, HttpAccess, Secret};

use super::ScrapeConfig;

impl ScrapeConfig {
    /// Lets all relative paths start at `folder`, for a job out of a file elsewhere.
    pub(crate) fn move_paths(&mut self, folder: &Path) {
        for file in self.file_sd.iter_mut().flat_map(|sd| &mut sd.files) {
            *file = folder.join(&*file).display().to_string();
        }
        let access = std::iter::once(&mut self.http).chain(self.http_sd.iter_mut().map(|sd| &mut sd.http));
        access.flat_map(secret_files).for_each(|path| *path = folder.join(&*path));
    }

    /// Returns the files that hold secrets, certificates and keys.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let mut config = self.clone();
        let access = std::iter::once(&mut config.http).chain(config.http_sd.iter_mut().map(|sd| &mut sd.http));
        access.flat_map(secret_files).map(|path| path.clone()).collect()
    }
}

fn secret_files(access: &mut HttpAccess) -> impl Iterator<Item = &mut PathBuf> {
    let of_authorization = match &mut access.authorization {
        None => [None, None],
        Some(Authorization::Basic { username, password }) => [Some(username), Some(password)],
        Some(Authorization::Credentials { credentials, .. }) => [Some(credentials), None],
    };
    let tls = [access.tls.ca.as_mut(), access.tls.cert.as_mut(), access.tls.key.as_mut()];
    let headers = access.headers.iter_mut().chain(&mut access.proxy.connect_headers).flat_map(|(_, values)| values);
    let secrets = of_authorization.into_iter().chain(tls).flatten().chain(headers);
    secrets.filter_map(|secret| match secret {
        Secret::File(path) => Some(path),
        Secret::Text(_) => None,
    })
}
