use std::net::SocketAddr;

use firetower_model::DnsKind;
use tokio::net::UdpSocket;

use super::Names;

const OK: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// A code, and the data of each record.
type Answer = (u8, Vec<Vec<u8>>);

/// Answers by UDP with what `answer` makes of a name and a type.
async fn start_server(answer: fn(&str, u16) -> Answer) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        loop {
            let (_, peer) = socket.recv_from(&mut query).await.unwrap();
            let (name, end) = read_name(&query, 12);
            let (code, records) = answer(&name, u16::from_be_bytes([query[end], query[end + 1]]));
            // The query's id; an answer, with recursion; one question, so many answers, nothing else.
            let mut message = [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
            message.extend(&query[12..end + 4]);
            for record in records {
                // The name of the question, its type and class, 60 s to live.
                message.extend([&[0xc0, 12], &query[end..end + 4], &[0, 0, 0, 60]].concat());
                message.extend((record.len() as u16).to_be_bytes());
                message.extend(record);
            }
            socket.send_to(&message, peer).await.unwrap();
        }
    });
    address
}

fn read_name(query: &[u8], mut at: usize) -> (String, usize) {
    let mut name = String::new();
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        name += &format!("{}.", String::from_utf8_lossy(&query[at + 1..end]));
        at = end;
    }
    (name, at + 1)
}

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

#[tokio::test]
async fn records_of_each_kind_are_found() {
    let server = start_server(|asked, kind| match (asked, kind) {
        ("srv.example.", 33) => {
            let srv = |port: u16, host| [&[0, 0, 0, 0], &port.to_be_bytes()[..], &name(host)].concat();
            (OK, vec![srv(9101, "b.example"), srv(9100, "a.example"), srv(9100, "a.example")])
        }
        ("a.example.", 1) => (OK, vec![vec![10, 0, 0, 2], vec![10, 0, 0, 1]]),
        ("aaaa.example.", 28) => (OK, vec![[&[0xfd][..], &[0; 14], &[1]].concat()]),
        ("mx.example.", 15) => (OK, vec![[vec![0, 10], name("mail.example")].concat()]),
        ("ns.example.", 2) => (OK, vec![name("ns1.example")]),
        ("empty.example.", _) => (OK, Vec::new()),
        ("broken.example.", _) => (SERVER_FAILURE, Vec::new()),
        _ => (NO_SUCH_NAME, Vec::new()),
    })
    .await;
    let names = Names::of_servers(&[server]);
    let check = async |name: &str, kind, expected: Option<&[&str]>| {
        let found = names.lookup(name, kind).await.ok();
        let port = |port: Option<u16>| port.map_or(String::new(), |port| format!(" {port}"));
        let found = found.map(|found| found.iter().map(|one| one.host.clone() + &port(one.port)).collect::<Vec<_>>());
        assert_eq!(
            found.as_deref(),
            expected.map(|hosts| hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).as_deref(),
            "{name}"
        );
    };
    check("srv.example", DnsKind::Srv, Some(&["a.example. 9100", "b.example. 9101"])).await;
    check("a.example", DnsKind::A, Some(&["10.0.0.1", "10.0.0.2"])).await;
    check("aaaa.example.", DnsKind::Aaaa, Some(&["fd00::1"])).await;
    check("mx.example", DnsKind::Mx, Some(&["mail.example."])).await;
    check("ns.example", DnsKind::Ns, Some(&["ns1.example."])).await;
    check("empty.example", DnsKind::A, Some(&[])).await;
    check("none.example", DnsKind::A, Some(&[])).await;
    check("broken.example", DnsKind::A, None).await;
}
