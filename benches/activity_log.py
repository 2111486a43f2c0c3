#!/usr/bin/env python3
"""How long `portcullis activity` takes over a log of many records, filter by filter.

usage: activity_log.py PORTCULLIS [RECORDS] [DIRECTORY]

Starts PORTCULLIS once in explicit mode (no privileges) so that it makes its database below DIRECTORY (target/activity-log),
fills it with RECORDS (10000000) by the statements of SQLite, then runs each command several times and prints the median, process start
included. Takes some 900 bytes of disk a record; removed at the end.
"""
import json, os, shutil, signal, sqlite3, statistics, subprocess, sys, time

ROUNDS = 7
FILTERS = [
    [],
    ["--user", "user42"],
    ["--app", "app7"],
    ["--app", "suite3"],
    ["--type", "upload"],
    ["--type", "sign-in-failed"],
    ["--action", "block"],
    ["--policy", "policy5"],
    ["--file", "report-77.docx"],
    ["--ip", "10.1.2.3"],
    ["--ip", "10.250.250.250"],
    ["--ip", "10.0.0.0/8"],
    ["--device", "device-42"],
    ["--device", "none"],
    ["--since", "2026-01-02T00:00:00Z", "--until", "2026-01-02T01:00:00Z"],
    ["--user", "user42", "--app", "app7"],
    ["--user", "user42", "--action", "block"],
    ["--app", "app7", "--type", "download", "--since", "2026-01-02T00:00:00Z"],
    ["--policy", "policy5", "--action", "block", "--user", "user42"],
    ["--file", "*.docx"],
]
# Many users, few apps, rare blocks, rarer failed sign-ins: numbers drawn by a multiplicative hash, the same in every run.
FILL = """
WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2),
     r AS (SELECT i, (i * 2654435761) % 4294967296 AS h FROM n),
     v AS (SELECT i, h, 'user' || (h % 5000) AS user, h / 5000 % 40 AS app, h / 977 % 1000 AS dice FROM r)
INSERT INTO activities (id, time, type, action, app, suite, user, uid, device, client_ip, policy, file, record)
SELECT randomblob(16), ?3 + i * 50000,
       CASE WHEN dice < 600 THEN 'view' WHEN dice < 900 THEN 'download' WHEN dice < 998 THEN 'upload'
            ELSE 'sign-in-failed' END,
       CASE WHEN dice % 100 < 2 THEN 'block' WHEN dice % 100 < 30 THEN 'monitor' ELSE 'allow' END,
       'app' || app, CASE WHEN app % 2 = 0 THEN 'suite' || (app % 8) END, user, 1000 + h % 5000, 'device-' || (h % 300),
       CAST(char(10, 1 + h % 120, 1 + h / 120 % 120, 1 + h / 14400 % 120) AS BLOB), CASE WHEN dice % 100 < 30 THEN 'policy' || (h % 12) END,
       CASE WHEN dice >= 600 AND dice < 998 THEN 'report-' || (h % 9973) || '.docx' END,
       json_set(?4, '$.user.name', user, '$.app.id', 'app' || app)
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
        "app": {"id": "", "name": "An app", "suite": None, "category": "file-hosting"},
        "user": {"name": "", "uid": 1000, "groups": ["staff"]},
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


def main():
    binary = os.path.abspath(sys.argv[1])
    records = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
    directory = os.path.abspath(sys.argv[3] if len(sys.argv) > 3 else "target/activity-log")
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    try:
        config, log = make_log(binary, directory)
        begun = time.monotonic()
        database = sqlite3.connect(log, isolation_level=None)
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -400000")
        # As a log would be that grew by itself: indexes are made last only because that takes less time.
        indexes = database.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL").fetchall()
        for name, _ in indexes:
            database.execute(f"DROP INDEX {name}")
        step, base = 100_000, 1_767_225_600_000_000
        for first in range(0, records, step):
            database.execute(FILL, (first, min(first + step, records), base, sample_record()))
        for _, sql in indexes:
            database.execute(sql)
        database.execute("UPDATE log SET records = ?", (records,))
        database.execute("PRAGMA analysis_limit = 1000")
        database.execute("ANALYZE")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        size = os.path.getsize(log) / (1 << 30)
        print(f"{records} records, {size:.1f} GiB, made in {time.monotonic() - begun:.0f} s")
        for filters in FILTERS:
            command = [binary, "activity", "--config", config, "-o", "jsonl", "--limit", "100", *filters]
            times = []
            for _ in range(ROUNDS):
                started = time.monotonic()
                shown = subprocess.run(command, check=True, capture_output=True).stdout.count(b"\n")
                times.append(time.monotonic() - started)
            median, worst = statistics.median(times) * 1000, max(times) * 1000
            print(f"{median:8.1f} ms (at worst {worst:8.1f})  {shown:4} shown  {' '.join(filters) or 'no filter'}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


main()
