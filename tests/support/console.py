"""Visits pages in one headless Chromium (DevTools protocol over a pipe) and tells what became of them.

python3 console.py PROFILE, with one JSON object a line: {"url", "width", "height", "dark"?, "script"?, "file"?}. `script` is the body of
an async function that runs in the page before the picture `file` is taken. Answers each with {"title", "text", "value", "wide",
"complaints"}: what the page shows, what the script returned, by how much the page is wider than the window, and everything that the
browser's console said.
"""
import base64, json, os, subprocess, sys, time

PATIENCE = 60
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--remote-debugging-pipe", "--force-color-profile=srgb"]


class Browser:
    def __init__(self, profile):
        (its_in, to_it), (from_it, its_out) = os.pipe(), os.pipe()
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f'exec "$0" "$@" 3<&{its_in} 4>&{its_out}', "chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(its_in, its_out), stdin=subprocess.DEVNULL, stdout=sys.stderr)
        os.close(its_in), os.close(its_out)
        self.out, self.input, self.unread, self.number = os.fdopen(to_it, "wb"), from_it, b"", 0
        self.events, self.session = [], None
        tab = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network":
            self.ask(f"{domain}.enable")

    def read(self):
        while b"\0" not in self.unread:
            octets = os.read(self.input, 1 << 20)
            if not octets:
                raise SystemExit("the browser is gone")
            self.unread += octets
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def ask(self, method, **parameters):
        self.number += 1
        order = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            order["sessionId"] = self.session
        self.out.write(json.dumps(order).encode() + b"\0")
        self.out.flush()
        while True:
            message = self.read()
            if message.get("id") == self.number:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']['message']}")
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def run(self, script):
        answer = self.ask("Runtime.evaluate", expression="(async () => {" + script + "})()", awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def visit(self, asked):
        self.events.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=asked["width"], height=asked["height"], deviceScaleFactor=1, mobile=False)
        scheme = "dark" if asked.get("dark") else "light"
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url=asked["url"])
        end = time.monotonic() + PATIENCE
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            if time.monotonic() > end:
                raise SystemExit(f"{asked['url']} is not loaded")
            self.events.append(self.read())
        value = self.run(asked["script"]) if asked.get("script") else None
        page = self.run("return {title: document.title, text: document.body.innerText,"
                        " wide: document.documentElement.scrollWidth - innerWidth}")
        if asked.get("file"):
            picture = self.ask("Page.captureScreenshot", format="png")
            with open(asked["file"], "wb") as file:
                file.write(base64.b64decode(picture["data"]))
        return {**page, "value": value, "complaints": [text for event in self.events if (text := complaint(event))]}


def complaint(event):
    parameters = event.get("params", {})
    if event["method"] == "Runtime.exceptionThrown":
        return json.dumps(parameters["exceptionDetails"])
    if event["method"] == "Runtime.consoleAPICalled":
        return json.dumps([argument.get("value") for argument in parameters["args"]])
    if event["method"] == "Log.entryAdded":
        return parameters["entry"]["text"] + " " + parameters["entry"].get("url", "")
    if event["method"] == "Network.loadingFailed" and not parameters.get("canceled"):
        return "not loaded: " + parameters["errorText"]
    return None


browser = Browser(sys.argv[1])
for line in sys.stdin:
    print(json.dumps(browser.visit(json.loads(line))), flush=True)
browser.ask("Browser.close")
browser.process.wait(PATIENCE)
