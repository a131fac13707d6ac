//! Compiles the proto files, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}");
    let files = protox::compile(["firetower/v1/tree.proto", "firetower/v1/frame.proto"], [root])?;
    tonic_prost_build::configure()
        .codec_path("crate::codec::screen::ScreenedCodec")
        .bytes(".firetower.v1.Frame.payload")
        .bytes(".firetower.v1.FramePart.content")
        .bytes(".firetower.v1.Heartbeat.status")
        .bytes(".firetower.v1.AnswerChunk.content")
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
