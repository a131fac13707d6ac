//! Answers that may be large.

use axum::Router;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

/// Answers in gzip to whoever takes it: quickly rather than small, for JSON of numbers shrinks to about a fifth either way.
pub(crate) fn compressed(router: Router) -> Router {
    router.layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
}
