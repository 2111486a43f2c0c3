//! Agents killed at random under load.

use super::*;

/// Killed at random moments under load: unmonitored sites never notice, and no file of the monitored app comes
/// uninspected from the origin.
#[test]
fn kills_under_load_harm_nobody_and_let_nothing_through() {
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |text| text.parse().unwrap());
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    let stop = AtomicBool::new(false);
    let mut seed = u64::from(std::process::id());
    let mut down = Vec::new();
    let (unmonitored, monitored) = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let (stop, lab) = (&stop, &lab);
        let innocent = [url(UNMONITORED, PAGE), url(UNMONITORED, DOCX)].map(Curl::get);
        let watched = [url(MONITORED, DOCX)].map(Curl::get);
        let innocent = scope.spawn(move || request_until(stop, lab, &innocent));
        let watched = scope.spawn(move || request_until(stop, lab, &watched));
        for _ in 0..kills {
            // xorshift: any spread of moments will do.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            std::thread::sleep(Duration::from_millis(50 + seed % 700));
            agent.kill().unwrap();
            let begun = Instant::now();
            std::thread::sleep(Duration::from_millis(seed % 300));
            agent.start_again().unwrap();
            down.push(begun.elapsed());
        }
        drop(_stop);
        (innocent.join().unwrap(), watched.join().unwrap())
    });
    let count = |wanted: &dyn Fn(&Result<u16, String>) -> bool| {
        monitored.iter().filter(|one| wanted(&one.result)).count()
    };
    let (blocked, refused) = (count(&|r| *r == Ok(403)), count(&|r| r.is_err()));
    down.sort();
    println!(
        "{kills} kills: unmonitored {} requests; monitored {} requests, {blocked} blocked, {refused} refused or cut; \
         down p50 {:?}, max {:?}",
        unmonitored.len(),
        monitored.len(),
        down[down.len() / 2],
        down[down.len() - 1],
    );
    for one in &unmonitored {
        assert_eq!(one.result, Ok(200));
    }
    assert_eq!(blocked + refused, monitored.len(), "nothing came from the origin");
    assert!(
        unmonitored.len() as u64 > kills && blocked as u64 > kills / 4,
        "too little load to mean anything"
    );
    check_serves(&lab);
    assert!(agent.stop().unwrap().success());
    assert_eq!(attached(lab.cgroup()).unwrap(), Vec::<String>::new());
    assert!(!lab.pins().exists());
}
