//! A child is the node that its certificate names, on each call.

use std::fs;
use std::time::Duration;

use firetower_daemon::{CertificateFiles, Clock, Connector, Listener, Port, Security};
use firetower_model::{Incarnation, Sequence, Timestamp};
use firetower_wire::{Bytes, DialOptions, Features, FrameDown, FrameUp, Opening, Parent, RefusalReason, SealedFrame};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::common::{Applied, open, start_parent_at};

const LIMIT: Duration = Duration::from_secs(60);

/// Returns what `node` goes by; its certificate, signed by `ca`, is written to `folder`.
fn security(folder: &TempDir, node: &str, ca: &CertifiedIssuer<'static, KeyPair>) -> Security {
    let write = |name: String, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![node.to_owned()]).unwrap().signed_by(&key, ca).unwrap();
    let files = CertificateFiles {
        ca: Some(write("ca.pem".into(), ca.pem())),
        certificate: write(format!("{node}.pem"), certificate.pem()),
        key: write(format!("{node}-key.pem"), key.serialize_pem()),
    };
    Security::open(Some(files), None, Some(node), Clock::system()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_another_node_on_any_call() {
    let directory = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let listener = security(&directory, "p0", &ca).secure(Listener::bind("127.0.0.1:0").await.unwrap(), Port::Grpc);
    let above = start_parent_at(listener, open(&directory, "p0"), Applied::default(), 4 << 20);

    let connector = security(&directory, "s1", &ca).connector_to(&Connector::tcp(), "p0");
    let dialled = Parent::dial(&connector, &above.address, DialOptions::default()).await.unwrap();
    let incarnation = Incarnation { created: Timestamp::from_millis(1), random: 7 };
    let opening = |node: &str| Opening { node: node.into(), incarnation, features: Features::default() };
    let payload = Bytes::new();
    let frame = SealedFrame { sequence: Sequence(2), weight: 0, kind: 99, row_keys_needed: 0, payload };
    // Whoever goes by its own name is heard, and told that it has not said hello.
    for (node, expected) in [("s0", RefusalReason::WrongIdentity), ("s1", RefusalReason::Busy)] {
        let lanes = [dialled.live(opening(node)).await.unwrap(), dialled.backlog(opening(node)).await.unwrap()];
        for (frames, mut heard) in lanes {
            let _ = frames.send(FrameUp::Frame(frame.clone())).await;
            let said = timeout(LIMIT, heard.next()).await.unwrap().unwrap();
            let Some(FrameDown::Refused(refusal)) = said else { panic!("{node}: {said:?}") };
            assert_eq!(refusal.reason, expected, "{node}: {}", refusal.text);
        }
    }
    drop(dialled);
    above.stop().await;
}
