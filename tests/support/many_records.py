"""Fills an activity log as a busy week would: python3 many_records.py DATABASE RECORDS, beside a running agent.

Each record is made of one that the agent wrote, which therefore must be there, so that its policies can be asked again.
"""
import json, random, sqlite3, sys, time, uuid

path, count = sys.argv[1], int(sys.argv[2])
draw = random.Random(1)
database = sqlite3.connect(path, isolation_level=None, timeout=30)
found = database.execute(
    "SELECT hex(a.id), a.type, c.text, a.record FROM activities a JOIN contexts c ON c.id = a.context"
    # The first of a shape says all of its own itself.
    " WHERE c.action = 'block' AND a.shape IS NULL ORDER BY a.seq DESC LIMIT 1").fetchone()
# What is a record's own is a list of lists, whose places stand for these.
NAMES = [("client", "address port kind user_agent locations"), ("request", "method host path version"),
         ("response", "status mime disposition"), ("file", "name extension size mime type"), ("content", "matches unscanned"),
         ("evaluated", "download kind why size mime file_type names groups tags cut")]
own = {name: part and dict(zip(members.split(), part)) for (name, members), part in zip(NAMES, json.loads(found[3]))}
# Whole again, as records were before they shared what they have in common: both kinds are read.
template = {"id": str(uuid.UUID(hex=found[0])), "type": found[1], "transfer": None, **json.loads(found[2]), **own}
now = time.time()

USERS = ["alice", "bob", "carol", "dmitri", "eve", "farid", "grace", "heidi", "ivan", "judy", "ken.van-der-lange", None]
APPS = [("sharepoint", "Microsoft SharePoint", "office365", "file-hosting"), ("teams", "Microsoft Teams", "office365", "messaging"),
        ("slack", "Slack", None, "messaging"), ("google-drive", "Google Drive", "google-workspace", "file-hosting"),
        ("corp-files", "Corp Files", "corp", "file-hosting"), ("salesforce", "Salesforce", None, "crm"),
        ("github", "GitHub", None, "development"), ("dropbox", "Dropbox", None, "file-hosting")]
FILES = ["Q3 forecast.xlsx", "payroll-2026.csv", "customers.csv", "board-deck.pptx", "contract_final_v7.docx", "backup.tar.gz",
         "org chart.pdf", "keys.zip", "<b onclick=alert(1)>.pdf", "rechnung\u202efdp.exe",
         "a name that is much longer than any column of any table would ever be, and then some more of it.docx"]
TYPES = ["download"] * 5 + ["view"] * 9 + ["upload"] * 2 + ["message", "sign-in", "share", "sign-in-failed"]


def moment():
    """More in working hours, more of late."""
    while True:
        at = now - draw.random() ** 2 * 7 * 86400
        if 7 <= time.localtime(at).tm_hour < 19 or draw.random() < 0.15 or now - at < 3600:
            return at


def record():
    one = json.loads(json.dumps(template))
    at, user = moment(), min(int(draw.expovariate(0.35)), len(USERS) - 1)
    app, kind = APPS[min(int(draw.expovariate(0.5)), len(APPS) - 1)], draw.choice(TYPES)
    has_file = kind in ("download", "upload")
    chance = draw.random()
    action = "block" if kind == "download" and chance < 0.12 else "monitor" if chance < 0.3 else "allow"
    policy = {"block": template["decision"]["policy"], "monitor": "Watch Memo", "allow": None}[action]
    file = draw.choice(FILES) if has_file else None
    one["id"] = str(uuid.UUID(int=(int(at * 1000) << 80) | (7 << 76) | draw.getrandbits(62) | (1 << 63)))
    one["time"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1e6) % 10**6:06}Z"
    one["type"] = kind
    one["app"] = dict(zip(("id", "name", "suite", "category"), app))
    one["user"] = {"name": USERS[user], "uid": 1000 + user, "groups": ["staff"]}
    one["file"] = {"name": file, "extension": None, "size": draw.randrange(1 << 24), "mime": "application/octet-stream"} if file else None
    one["request"]["path"] = f"/sites/{draw.choice(['hr', 'finance', 'sales'])}/{draw.randrange(900)}"
    one["client"]["address"] = f"10.0.{draw.randrange(4)}.{draw.randrange(1, 250)}"
    one["decision"].update(action=action, policy=policy, micros=draw.randrange(3, 60))
    if action == "allow":
        one["decision"].update(reason="no policy applies", enforced=True)
    address = bytes(map(int, one["client"]["address"].split(".")))
    return (uuid.UUID(one["id"]).bytes, int(at * 1e6), kind, action, app[0], app[2], USERS[user], 1000 + user, one["device"]["id"],
            address, policy, file, json.dumps(one, ensure_ascii=False))


for begin in range(0, count, 5000):
    database.execute("BEGIN IMMEDIATE")
    database.executemany(
        "INSERT INTO activities (id, time, type, action, app, suite, user, uid, device, client_ip, policy, file, record)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (record() for _ in range(min(5000, count - begin))))
    database.execute("COMMIT")
micros = int(now * 1e6)
for id, name, suite, category in APPS:
    database.execute(
        "INSERT OR REPLACE INTO apps SELECT ?1, ?2, ?3, ?4, min(time), max(time), count(*), count(*) FILTER (WHERE action <> 'block'),"
        " count(*) FILTER (WHERE action = 'block') FROM activities WHERE app = ?1", (id, name, suite, category))
    database.execute(
        "INSERT OR REPLACE INTO app_users SELECT app, user, max(time) FROM activities WHERE app = ?1 AND user IS NOT NULL GROUP BY user",
        (id,))
for number, site in enumerate(["cdn.elsewhere.example", "login.partner.example", "paste.example"]):
    database.execute("INSERT OR REPLACE INTO discovered VALUES (?, 'slack', ?, ?, ?, ?)",
                     (site, ["referrer", "redirect", "sign-in"][number], micros - 10**11, micros - 10**9, 400 // (number + 1)))
database.execute("UPDATE log SET records = (SELECT count(*) FROM activities)")
print(template["id"])
