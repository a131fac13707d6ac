//! What `build.rs` makes of `proto/firetower/v1`.

// Generated code follows its own style; its documentation is in the proto files.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::wildcard_imports)]

tonic::include_proto!("firetower.v1");
