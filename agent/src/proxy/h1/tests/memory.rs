//! What a connection does while memory is short.

use super::*;

/// What a client reads until the end of its connection, after a request before that it has `level`, and the end.
async fn under(before: Level, then: Level) -> (String, Ended) {
    pressure::inject(before);
    let script = Script::default();
    let (ours, theirs) = duplex(1 << 16);
    let _origin = tokio::task::spawn_local(origin(theirs, vec![OK.to_owned()]));
    let (client_side, mut client) = duplex(1 << 16);
    let asking = async {
        client.write_all(GET.as_bytes()).await.unwrap();
        let mut seen = vec![0; 4096];
        let count = client.read(&mut seen).await.unwrap();
        tokio::task::yield_now().await;
        pressure::inject(then);
        seen.truncate(count);
        client.read_to_end(&mut seen).await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    let mut side = Side::new(client_side);
    let (limits, timeouts) = (Limits::default(), Timeouts::default());
    let serving = async {
        let ended = serve(&mut side, ours, &script, &limits, &timeouts).await;
        drop(side);
        ended
    };
    tokio::join!(asking, serving)
}

#[tokio::test]
async fn while_memory_is_short_no_connection_is_kept_for_a_next_request() {
    tokio::task::LocalSet::new()
        .run_until(async {
            // One that waits already is closed, without a word.
            let (seen, ended) = under(Level::Enough, Level::Shed).await;
            assert!(seen.ends_with("ok") && !seen.contains("close"), "{seen}");
            assert!(matches!(ended, Ended::Done), "{ended}");
            // One that begins is served, and told that it ends.
            let (seen, ended) = under(Level::Shed, Level::Shed).await;
            assert!(seen.contains("Connection: close\r\n") && seen.ends_with("ok"), "{seen}");
            assert!(matches!(ended, Ended::Done), "{ended}");
            pressure::inject(Level::Enough);
        })
        .await;
}
