//! The activity log on disks that fail, and in an agent that is killed, with real clients downloading meanwhile.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PDF};
use lab::client::{Curl, python_daemon, sha256};
use lab::{Lab, wait};
use serde_json::Value;

use super::{KILLS_VARIABLE, MONITORED, Stop, check_blocked, request_until, url};

/// Every one takes a few seconds.
const KILLS: usize = 3;
/// What the clients ask for meanwhile.
const DOWNLOADS_A_SECOND: &str = "50";
/// Clients that download at once.
const CLIENTS: usize = 4;
const MEMO: &str = "notes.memo.test";

/// A file system of its own for the agent's state: what fills it harms nobody else.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(lab: &Lab, size: &str) -> Self {
        let at = lab.directory().join("agent/state");
        std::fs::create_dir_all(&at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "portcullis-test", path(&at)]);
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", path(&self.0)]);
    }
}

/// An ext4 of its own in a file for the agent's state, which can be made to fail as one on a failing disk does.
struct FailingDisk {
    image: PathBuf,
    at: PathBuf,
}

impl FailingDisk {
    fn mount(lab: &Lab) -> Self {
        let (image, at) = (lab.directory().join("disk"), lab.directory().join("agent/state"));
        std::fs::create_dir_all(&at).unwrap();
        std::fs::File::create(&image).unwrap().set_len(48 << 20).unwrap();
        run("mkfs.ext4", &["-q", path(&image)]);
        run("mount", &["-o", "loop", path(&image), path(&at)]);
        std::fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self { image, at }
    }

    /// From now on it is read-only, also for what is open; for everybody, because it is the file system and not the mount.
    fn fail(&self) {
        run("mount", &["-o", "remount,abort", path(&self.at)]);
    }

    /// As an administrator does it, here and where the agent has mounts of its own.
    fn repair(&self, agent: &Agent<'_>) {
        let (pid, at) = (agent.pid().to_string(), path(&self.at));
        run("umount", &["-l", at]);
        run("nsenter", &["--mount", "--target", &pid, "umount", "-l", at]);
        // Another file, or mount(8) finds the file system that is still in use.
        let copy = self.image.with_extension("repaired");
        std::fs::copy(&self.image, &copy).unwrap();
        // 1: errors were corrected.
        let checked = std::process::Command::new("e2fsck").args(["-fy", path(&copy)]).output().unwrap();
        assert!(checked.status.code().is_some_and(|code| code <= 1), "{checked:?}");
        run("mount", &["-o", "loop", path(&copy), at]);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let device =
            mounts.lines().filter_map(|line| line.split_once(' ')).find(|(_, rest)| rest.starts_with(at));
        run("nsenter", &["--mount", "--target", &pid, "mount", device.unwrap().0, at]);
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        run("umount", &["-l", path(&self.at)]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The ids of all records, and how many more are accounted for in gaps.
fn stored(agent: &Agent<'_>) -> (HashSet<String>, u64) {
    ids_and_missing(&agent.activities(&[]).unwrap())
}

fn ids_and_missing(entries: &[Value]) -> (HashSet<String>, u64) {
    let gaps = entries.iter().filter(|entry| entry["type"] == "gap");
    let missing = gaps.map(|gap| gap["count"].as_u64().unwrap()).sum();
    let ids = entries.iter().filter_map(|entry| entry["id"].as_str());
    (ids.map(str::to_owned).collect(), missing)
}

/// Why the log cannot be written, as status has it.
fn trouble(agent: &Agent<'_>) -> Value {
    let status = agent.command(&["status", "--json"]).unwrap();
    let status: Value = serde_json::from_str(&status.text()).unwrap();
    status["activity_log"]["trouble"].clone()
}

/// Every block is on record, or missing by number.
#[track_caller]
fn check_accounted(agent: &Agent<'_>, blocks: u64) {
    wait::until("every block to be accounted for", wait::PATIENCE, || {
        let (ids, missing) = stored(agent);
        Ok((ids.len() as u64 + missing == blocks).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {blocks} blocks, {:?}", stored(agent)));
}

/// Downloads until told to stop, and gives how many were wholly received.
fn download(lab: &Lab, stop: &AtomicBool, request: &Curl<'_>) -> usize {
    let mut received = 0;
    while !stop.load(Ordering::Relaxed) {
        let reply = request.send(lab);
        received += usize::from(reply.is_ok_and(|reply| reply.status == 200 && reply.body == PDF.body(MEMO)));
    }
    received
}

/// A37: what clients have wholly received is on record after SIGKILL at any moment, or counted as lost; and nothing is on
/// record that nobody asked for.
#[test]
fn log_and_clients_agree_after_kills_at_random_moments() {
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().unwrap());
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    let (digest, trust) = (sha256(&PDF.body(MEMO)).unwrap(), lab.trust().display().to_string());
    let arguments = [MEMO, PDF.path, &digest, &trust, DOWNLOADS_A_SECOND];
    let mut clients =
        python_daemon(&lab, "downloads", include_str!("../../support/downloads.py"), &arguments, None)
            .unwrap();
    let mut seed = u64::from(std::process::id());
    for _ in 0..kills {
        // xorshift: any spread of moments will do.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_millis(300 + seed % 1400));
        agent.kill().unwrap();
        agent.start_again().unwrap();
    }
    assert!(clients.stop(Duration::from_secs(30)).unwrap().success(), "{}", clients.log());
    let seen: Value = serde_json::from_str(clients.log().trim()).unwrap();
    let (made, whole) = (seen["made"].as_u64().unwrap(), seen["whole"].as_u64().unwrap());
    // Nothing is under way any more, and what still was when the agent was stopped is stored before it ends.
    agent.stop().unwrap();
    let entries = agent.activities(&[]).unwrap();
    let (ids, missing) = ids_and_missing(&entries);
    let states: BTreeMap<&str, usize> = entries
        .iter()
        .filter_map(|entry| entry["transfer"]["state"].as_str())
        .fold(BTreeMap::new(), |mut counts, state| {
            *counts.entry(state).or_default() += 1;
            counts
        });
    println!("{kills} kills: {seen}; {} on record, {missing} counted as lost, {states:?}", ids.len());
    let on_record = ids.len() as u64;
    assert!(
        on_record + missing >= whole,
        "{whole} received, {on_record} on record, {missing} counted as lost"
    );
    assert!(on_record <= made, "{on_record} on record of {made} requests");
    assert!(whole > 5 * kills as u64 && states.contains_key("complete"), "{seen}, {states:?}");
    assert!(!states.contains_key("open"), "nothing is under way after a restart: {states:?}");
    let damaged = |name: std::ffi::OsString| name.to_string_lossy().contains("damaged");
    let files = std::fs::read_dir(lab.directory().join("agent/state")).unwrap();
    assert!(!files.into_iter().any(|file| damaged(file.unwrap().file_name())), "the file was damaged");
}

fn be_strict(agent: &Agent<'_>) {
    agent.edit_config(|text| format!("{text}[activity]\ndurability = \"strict\"\n")).unwrap();
    agent.command(&["reload"]).unwrap().succeeded().unwrap();
}

/// With `durability = "strict"` not one whole download is without its record, whenever the agent dies.
#[track_caller]
fn check_strict(request: &Curl<'_>) {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    be_strict(&agent);
    let stop = AtomicBool::new(false);
    let received = std::thread::scope(|scope| {
        let ending = Stop(&stop);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| download(&lab, &stop, request))).collect();
        std::thread::sleep(Duration::from_millis(1500));
        agent.kill().unwrap();
        drop(ending);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    agent.start_again().unwrap();
    let records = agent.activities(&["--type", "download"]).unwrap().len();
    assert!(received > 10 && records >= received, "{received} received, {records} on record");
}

#[test]
fn strict_durability_loses_no_download_to_a_kill() {
    check_strict(&Curl::get(url(MEMO, PDF)));
}

#[test]
fn strict_durability_loses_no_download_to_a_kill_over_http2() {
    check_strict(&Curl::get(url(MEMO, PDF)).http2());
}

/// What cannot be put on record is not handed over, where that was asked for: not a byte of it, over either protocol.
#[test]
fn a_strict_download_is_refused_while_the_disk_is_full() {
    let lab = Lab::start().unwrap();
    let disk = SmallDisk::mount(&lab, "12m");
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    be_strict(&agent);
    let filler = disk.0.join("filler");
    let fill = format!("if=/dev/zero of={} bs=4k", path(&filler));
    let filled = std::process::Command::new("dd").args(fill.split(' ')).output().unwrap();
    assert!(!filled.status.success(), "the disk is not full");
    for request in [Curl::get(url(MEMO, PDF)), Curl::get(url(MEMO, PDF)).http2()] {
        // The file may have had room for some more.
        wait::until("a refusal", wait::PATIENCE, || Ok((request.send(&lab)?.status == 503).then_some(())))
            .unwrap();
        let reply = request.send(&lab).unwrap();
        assert_eq!(reply.status, 503, "{}", reply.text());
        let start = &PDF.body(MEMO)[..64];
        assert!(!reply.body.windows(64).any(|window| window == start), "bytes of the file passed");
    }
    std::fs::remove_file(&filler).unwrap();
    let request = Curl::get(url(MEMO, PDF)).http2();
    wait::until("downloads to go on", wait::PATIENCE, || {
        Ok((request.send(&lab)?.status == 200).then_some(()))
    })
    .unwrap();
    drop(agent);
}

/// A full disk: blocks still block, losses are counted exactly, and the log goes on by itself.
#[test]
fn a_full_disk_stops_no_block_and_loses_nothing_silently() {
    let lab = Lab::start().unwrap();
    let disk = SmallDisk::mount(&lab, "12m");
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let blocked = Curl::get(url(MONITORED, DOCX));
    check_blocked(&blocked.send(&lab).unwrap(), DOCX);
    let filler = disk.0.join("filler");
    let room = std::process::Command::new("dd")
        .args(["if=/dev/zero", &format!("of={}", path(&filler)), "bs=4k"])
        .output()
        .unwrap();
    assert!(!room.status.success(), "the disk is not full");
    let mut blocks = 1;
    wait::until("the log to notice", wait::PATIENCE, || {
        check_blocked(&blocked.send(&lab)?, DOCX);
        blocks += 1;
        Ok(trouble(&agent).is_string().then_some(()))
    })
    .unwrap();
    for _ in 0..5 {
        check_blocked(&blocked.send(&lab).unwrap(), DOCX);
        blocks += 1;
    }
    std::fs::remove_file(&filler).unwrap();
    wait::until("the log to go on", wait::PATIENCE, || Ok(trouble(&agent).is_null().then_some(()))).unwrap();
    check_accounted(&agent, blocks);
    let lost = |agent: &Agent<'_>| agent.metric("portcullis_activity_log_lost_total", &[]).unwrap() as u64;
    assert_eq!(lost(&agent), stored(&agent).1, "what the metrics count as lost the gaps announce");
    drop(agent);
}

/// A disk that became read-only keeps no agent from starting: blocks block, and their records wait for the disk.
#[test]
fn an_agent_starts_on_a_read_only_disk_and_blocks() {
    let lab = Lab::start().unwrap();
    let disk = SmallDisk::mount(&lab, "32m");
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    let blocked = Curl::get(url(MONITORED, DOCX));
    check_blocked(&blocked.send(&lab).unwrap(), DOCX);
    check_accounted(&agent, 1);
    agent.stop().unwrap();

    run("mount", &["-o", "remount,ro", path(&disk.0)]);
    agent.start_again().unwrap();
    for _ in 0..5 {
        check_blocked(&blocked.send(&lab).unwrap(), DOCX);
    }
    assert!(trouble(&agent).is_string(), "{}", trouble(&agent));
    // There, because the agent has mounts of its own.
    let pid = agent.pid().to_string();
    run("nsenter", &["--mount", "--target", &pid, "mount", "-o", "remount,rw", path(&disk.0)]);
    wait::until("the log to go on", wait::PATIENCE, || Ok(trouble(&agent).is_null().then_some(()))).unwrap();
    check_accounted(&agent, 6);
    drop(agent);
}

/// A disk that becomes read-only under load: every request is blocked all the same, every block is on record or counted once
/// the disk is back, and the metric says the same.
#[test]
fn a_disk_that_fails_under_load_stops_no_block() {
    let lab = Lab::start().unwrap();
    let disk = FailingDisk::mount(&lab);
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    // What such a disk had not written yet is gone with it.
    be_strict(&agent);
    let stop = AtomicBool::new(false);
    let blocked = [Curl::get(url(MONITORED, DOCX))];
    let seen = std::thread::scope(|scope| {
        let ending = Stop(&stop);
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| request_until(&stop, &lab, &blocked))).collect();
        wait::until("some records", wait::PATIENCE, || Ok((stored(&agent).0.len() > 20).then_some(())))
            .unwrap();
        disk.fail();
        wait::until("the log to notice", wait::PATIENCE, || Ok(trouble(&agent).is_string().then_some(())))
            .unwrap();
        std::thread::sleep(Duration::from_secs(1));
        disk.repair(&agent);
        wait::until("the log to go on", wait::PATIENCE, || Ok(trouble(&agent).is_null().then_some(())))
            .unwrap();
        drop(ending);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    for one in &seen {
        assert_eq!(one.result, Ok(403));
    }
    check_accounted(&agent, seen.len() as u64);
    let lost = agent.metric("portcullis_activity_log_lost_total", &[]).unwrap() as u64;
    assert_eq!(lost, stored(&agent).1, "what the metrics count as lost the gaps announce");
    drop(agent);
}

/// What was held in reserve is used when others have filled the disk, and held again when there is room.
#[test]
fn a_full_disk_leaves_room_for_what_happens_next() {
    let lab = Lab::start().unwrap();
    let disk = SmallDisk::mount(&lab, "96m");
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let reserve = disk.0.join("activity.db-reserve");
    let held = || Ok(reserve.metadata().is_ok_and(|file| file.len() >= 16 << 20).then_some(()));
    wait::until("the reserve", wait::PATIENCE, held).unwrap();
    let filler = disk.0.join("filler");
    let fill = format!("if=/dev/zero of={} bs=4k", path(&filler));
    let filled = std::process::Command::new("dd").args(fill.split(' ')).output().unwrap();
    assert!(!filled.status.success(), "the disk is not full");
    let blocked = Curl::get(url(MONITORED, DOCX));
    let mut blocks = 0;
    wait::until("the reserve to be given up", wait::PATIENCE, || {
        check_blocked(&blocked.send(&lab)?, DOCX);
        blocks += 1;
        Ok((!reserve.exists()).then_some(()))
    })
    .unwrap();
    check_blocked(&blocked.send(&lab).unwrap(), DOCX);
    blocks += 1;
    wait::until("every block to be on record", wait::PATIENCE, || {
        let (ids, missing) = stored(&agent);
        Ok(((ids.len() as u64, missing) == (blocks, 0)).then_some(()))
    })
    .unwrap();
    let status = agent.command(&["status", "--json"]).unwrap().text();
    assert!(status.contains("held in reserve is being used up"), "{status}");
    std::fs::remove_file(&filler).unwrap();
    wait::until("the reserve again", wait::PATIENCE, held).unwrap();
    wait::until("all to be well", wait::PATIENCE, || {
        Ok((agent.command(&["status"])?.code == Some(0)).then_some(()))
    })
    .unwrap();
    drop(agent);
}
