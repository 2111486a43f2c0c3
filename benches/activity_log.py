#!/usr/bin/env python3
"""How long `portcullis activity` takes over a log of many records, filter by filter.

usage: activity_log.py PORTCULLIS [RECORDS] [DIRECTORY]

Starts PORTCULLIS once in explicit mode (no privileges) so that it makes its database below DIRECTORY (target/activity-log),
fills it with RECORDS (10000000) by the statements of SQLite, then runs each command several times and prints medians, process start
included. Takes some 1500 bytes of disk a record; removed at the end.
"""
import json, os, resource, shutil, signal, sqlite3, statistics, subprocess, sys, time

ROUNDS = 5
# What each must stay below, process start included.
GOAL_MS = 100
# Every filter alone, frequent, rare and without a match, and the pairs and triples that people ask for.
FILTERS = [
    "",
    "--user user42",
    "--user nobody",
    "--app app7",
    "--app suite4",
    "--type upload",
    "--type sign-in-failed",
    "--action block",
    "--policy policy5",
    "--ip 10.1.2.3",
    "--ip 10.1.2.0/24",
    "--ip 10.0.0.0/8",
    "--ip 192.168.0.0/16",
    "--ip 10.250.0.0/16",
    "--device device-42",
    "--device none",
    "--since 2026-01-02T00:00:00Z --until 2026-01-02T01:00:00Z",
    "--since 2026-01-01T00:00:00Z",
    "--file report-77.docx",
    "--file *.docx",
    "--file report-77*",
    "--file *-777.docx",
    "--file *secret*",
    "--user user42 --app app7",
    "--user user42 --action block",
    "--user user42 --type download",
    "--user user42 --file *.docx",
    "--user user42 --since 2026-01-02T00:00:00Z --until 2026-01-02T01:00:00Z",
    "--app app7 --action block",
    "--app app7 --type sign-in-failed",
    "--app app7 --policy policy11",
    "--app suite2 --action block",
    "--type download --action block",
    "--type view --action block",
    "--type download --policy policy5",
    "--action allow --policy policy5",
    "--action block --policy policy5",
    "--action block --device device-42",
    "--action block --ip 10.1.0.0/16",
    "--action block --file *.docx",
    "--action block --file *secret*",
    "--device device-42 --type sign-in-failed",
    "--type sign-in-failed --since 2026-01-02T00:00:00Z --until 2026-01-02T01:00:00Z",
    "--app app7 --type download --since 2026-01-02T00:00:00Z",
    "--policy policy5 --action block --user user42",
    "--app app7 --type view --file *.docx",
]
# Many users, few apps, rare blocks, rarer failed sign-ins: numbers drawn by a multiplicative hash, the same in every run.
FILL = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1),
     r AS (SELECT i, (i * 2654435761) % 4294967296 AS h FROM n),
     v AS (SELECT i, h, 'user' || (h % 5000) AS user, h / 5000 % 40 AS app, h / 977 % 1000 AS dice FROM r)
INSERT INTO activities (id, time, type, action, app, suite, user, uid, device, client_ip, policy, file, record)
SELECT uuid7(i), ?2 + i * 50000,
       CASE WHEN dice < 600 THEN 'view' WHEN dice < 900 THEN 'download' WHEN dice < 998 THEN 'upload'
            ELSE 'sign-in-failed' END,
       CASE WHEN dice % 100 < 2 THEN 'block' WHEN dice % 100 < 30 THEN 'monitor' ELSE 'allow' END,
       'app' || app, CASE WHEN app % 2 = 0 THEN 'suite' || (app % 8) END, user, 1000 + h % 5000, 'device-' || (h % 300),
       CAST(char(10, 1 + h % 120, 1 + h / 120 % 120, 1 + h / 14400 % 120) AS BLOB),
       CASE WHEN dice % 100 < 30 THEN 'policy' || (h % 12) END,
       CASE WHEN dice >= 600 AND dice < 998 THEN 'report-' || (h % 9973) || '.docx' END,
       ?3 || app || ?4 || user || ?5
FROM v
"""


def make_log(binary, directory):
    config = os.path.join(directory, "portcullis.toml")
    with open(config, "w") as file:
        file.write(f"""[steering]\nmode = "explicit"\nlisten = "127.0.0.1:0"\n[metrics]\nlisten = "127.0.0.1:0"
[paths]\nstate = "{directory}/state"\nrun = "{directory}/run"\n""")
    agent = subprocess.Popen([binary, "run", "--config", config], stderr=subprocess.PIPE, text=True)
    for line in agent.stderr:
        if "ready" in line:
            break
    agent.send_signal(signal.SIGTERM)
    agent.wait()
    return config, os.path.join(directory, "state", "activity.db")


def sample_record():
    long = "/sites/human-resources/documents/2026/quarterly/planning/"
    return json.dumps({
        "id": "01990000-0000-7000-8000-000000000000", "time": "2026-01-01T00:00:00Z", "type": "download",
        "app": {"id": "appAPP", "name": "An app", "suite": None, "category": "file-hosting"},
        "user": {"name": "USER", "uid": 1000, "groups": ["staff"]},
        "device": {"id": "device-1", "compliant": False, "tags": [], "os": "Debian GNU/Linux 12"},
        "process": {"pid": 1, "exe": "/usr/lib/firefox-esr/firefox-esr", "name": "firefox-esr", "cgroup": "/user.slice",
                    "unit": None, "container": None},
        "client": {"address": "10.0.0.1", "port": 40000, "kind": "browser",
                   "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
        "server": {"address": "203.0.113.9", "port": 443, "name": "files.example.com"},
        "request": {"method": "GET", "host": "files.example.com", "path": long, "version": "HTTP/2"},
        "response": {"status": 200, "mime": "application/pdf", "disposition": "attachment"}, "file": None,
        "decision": {"action": "monitor", "enforced": False, "policy": None, "rule": None,
                     "reason": "the policy applies and its session control covers this activity", "micros": 12},
        "report_only": [], "content": None, "transfer": None})


def fill(log, records):
    """All in one transaction without a journal, and the indexes behind it."""
    begun = time.monotonic()
    os.environ["SQLITE_TMPDIR"] = os.path.dirname(log)
    database = sqlite3.connect(log, isolation_level=None)
    for pragma in ["journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -1000000", "threads = 2"]:
        database.execute(f"PRAGMA {pragma}").fetchall()
    indexes = database.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    for name, _ in indexes:
        database.execute(f"DROP INDEX {name}")
    # As version 7 of RFC 9562: the time first.
    database.create_function(
        "uuid7", 1, lambda i: ((1_767_225_600_000 + i * 50 << 80) | (7 << 76) | (i * 2654435761 % (1 << 62))).to_bytes(16, "big"))
    head, rest = sample_record().split("APP")
    middle, tail = rest.split("USER")
    database.execute(FILL, (records, 1_767_225_600_000_000, head, middle, tail))
    print(f"filled after {time.monotonic() - begun:.0f} s", flush=True)
    for _, sql in indexes:
        database.execute(sql)
    database.execute("UPDATE log SET records = ?", (records,))
    database.execute("PRAGMA journal_mode = WAL").fetchall()
    database.close()
    size = os.path.getsize(log) / (1 << 30)
    print(f"{records} records, {size:.1f} GiB, made in {time.monotonic() - begun:.0f} s", flush=True)


def segments(binary, config, log):
    """The agent brings the records into segments, as it does with a log of before there were any."""
    begun = time.monotonic()
    agent = subprocess.Popen([binary, "run", "--config", config], stderr=subprocess.DEVNULL)
    database = sqlite3.connect(log)
    behind = "SELECT max(seq) - (SELECT ifnull(max(last), 0) FROM segments) FROM activities"
    while database.execute(behind).fetchone()[0] >= 4096:
        time.sleep(1)
    left = time.monotonic() - begun
    columns = database.execute("SELECT sum(length(data)) FROM columns").fetchone()[0]
    database.close()
    agent.send_signal(signal.SIGTERM)
    agent.wait()
    print(f"in segments after {left:.0f} s: {columns >> 20} MiB of columns", flush=True)


def ask(binary, config):
    slow = []
    for filters in FILTERS:
        command = [binary, "activity", "--config", config, "-o", "jsonl", "--limit", "100", *filters.split()]
        wall, cpu = [], []
        for _ in range(ROUNDS):
            started, used = time.monotonic(), processor_time()
            shown = subprocess.run(command, check=True, capture_output=True).stdout.count(b"\n")
            wall.append((time.monotonic() - started) * 1000)
            cpu.append((processor_time() - used) * 1000)
        if statistics.median(wall) > GOAL_MS:
            slow.append(filters)
        print(f"{statistics.median(wall):8.1f} ms, {min(wall):8.1f} at best, {max(wall):8.1f} at worst; "
              f"{statistics.median(cpu):8.1f} ms of a processor; {shown:4} shown: {filters or 'no filter'}", flush=True)
    print(f"{len(slow)} of {len(FILTERS)} take more than {GOAL_MS} ms: {slow}")


def processor_time():
    """What ended children have used: on a busy machine this, and not the time on the wall, says what a question costs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    binary = os.path.abspath(sys.argv[1])
    records = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
    directory = os.path.abspath(sys.argv[3] if len(sys.argv) > 3 else "target/activity-log")
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    try:
        config, log = make_log(binary, directory)
        fill(log, records)
        segments(binary, config, log)
        ask(binary, config)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
