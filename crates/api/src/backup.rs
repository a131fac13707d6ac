//! Making a copy of the data directory of a monitor that runs.

use std::error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::error::Error;
use crate::json;

/// Makes a copy in a folder that does not exist yet; returns how many files it has, and their bytes. May block.
pub type MakeBackup = Arc<dyn Fn(&Path) -> Result<(u64, u64), Box<dyn error::Error + Send + Sync>> + Send + Sync>;

/// Returns `POST /api/v1/admin/backup`, which takes `{"directory": "/absolute/path"}`. One is made at a time.
///
/// The body must come as JSON, so that no page of a browser can send it unasked.
pub fn backup(make: MakeBackup) -> Router {
    let running = Arc::new(Mutex::new(()));
    let answer = move |Json(asked): Json<Value>| {
        let (make, running) = (Arc::clone(&make), Arc::clone(&running));
        async move {
            let directory = asked["directory"].as_str().map(PathBuf::from);
            let directory = directory.ok_or(Error::Missing { name: "directory" })?;
            if !directory.is_absolute() {
                let value = directory.display().to_string();
                return Err(Error::Parameter { name: "directory", value, expected: "an absolute path" });
            }
            let _alone = running.lock().await;
            let step = "make a backup";
            let shown = directory.display().to_string();
            let made = blocking(step, move || make(&directory).map_err(|source| Error::Unavailable { step, source }));
            let (files, bytes) = made.await?;
            tracing::info!(directory = shown, files, bytes, "backup made");
            Ok::<Response, Error>(json::success(json!({ "directory": shown, "files": files, "bytes": bytes })))
        }
    };
    Router::new().route("/api/v1/admin/backup", post(answer))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_copy_is_made_where_it_is_asked_for() {
        let make: MakeBackup = Arc::new(|to: &Path| match to.ends_with("full") {
            true => Err("No space left on device".into()),
            false => Ok((3, 4_096)),
        });
        let router = backup(make);
        let check = async |kind: &str, body: &'static str, status: u16, text: &str| {
            let request = Request::post("/api/v1/admin/backup").header("content-type", kind);
            let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            let found = response.status().as_u16();
            let answer = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let answer = String::from_utf8(answer.to_vec()).unwrap();
            assert!(found == status && answer.contains(text), "{found} {answer}");
        };
        let json = "application/json";
        check(json, r#"{"directory":"/b/one"}"#, 200, r#""files":3"#).await;
        check(json, r#"{"directory":"/b/full"}"#, 503, "No space left").await;
        check(json, r#"{"directory":"b"}"#, 400, "absolute").await;
        check("text/plain", r#"{"directory":"/b/one"}"#, 415, "").await;
    }
}
