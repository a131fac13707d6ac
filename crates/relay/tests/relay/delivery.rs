//! A child and a parent over a real connection: every frame is applied once, and forgotten when it is acknowledged.

use firetower_daemon::Clock;
use firetower_model::Labels;
use firetower_model::labels::NAME;
use tokio_util::sync::CancellationToken;

use crate::common::{Applied, Below, open, start_parent};

fn key(at: usize) -> Labels {
    Labels::new([(NAME, format!("m{at}")), ("job", "node".into())])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_is_applied_once_also_one_without_rows() {
    let directory = tempfile::tempdir().unwrap();
    let applied = Applied::default();
    let above = start_parent(open(&directory, "p0"), applied.clone(), 4 << 20).await;
    let (below, cancel) = (Below::new(&directory), CancellationToken::new());
    below.push(1, &[]);
    let linking = tokio::spawn(below.link(above.address.clone(), cancel.clone()));
    below.until_delivered().await;
    below.push(2, &[2.0, 3.0]);
    below.push(3, &[5.0]);
    below.until_delivered().await;
    cancel.cancel();
    linking.await.unwrap().unwrap();
    above.stop().await;

    let expected = vec![(0, vec![]), (2, vec![(key(0), 2.0), (key(1), 3.0)]), (1, vec![(key(0), 5.0)])];
    assert_eq!(*applied.0.lock().unwrap(), expected);
    let account = &below.outlet.accounts(0)[0];
    assert_eq!((account.collected, account.delivered, account.residual()), (3, 3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fresh_when_the_link_comes_up_goes_before_what_is_old() {
    let directory = tempfile::tempdir().unwrap();
    let applied = Applied::default();
    let above = start_parent(open(&directory, "p0"), applied.clone(), 4 << 20).await;
    let (below, cancel) = (Below::new(&directory), CancellationToken::new());
    for window in 1..=100 {
        below.push(window, &[window as f64; 3]);
    }
    below.push_at(101, &[0.5], Clock::system().now());
    let linking = tokio::spawn(below.link(above.address.clone(), cancel.clone()));
    below.until_delivered().await;
    cancel.cancel();
    linking.await.unwrap().unwrap();
    above.stop().await;
    let applied = applied.0.lock().unwrap();
    let sums: Vec<f64> = applied.iter().map(|(_, rows)| rows[0].1).collect();
    let old: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!((sums[0], &sums[1..]), (0.5, &old[..]));
}
