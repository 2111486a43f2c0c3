"""Drives Chromium (DevTools protocol over a pipe) or Firefox (Marionette) as one JSON object a line asks; answers each
with one: `{"ok": …}` or `{"error": text}`.

    {"do": "open", "url"}              goes there and waits until it is loaded, or saved instead
    {"do": "run", "script"}            the body of an async function, run in the page as if the user had clicked
    {"do": "press", "script"}          the same, in Firefox's own windows and with its rights
    {"do": "look"}                     address, title and text of the page
    {"do": "issuer"}                   common name of who issued the certificate of the page
    {"do": "keys", "letter", "command"} the letter with the control key, as from the keyboard; what an editor calls it
    {"do": "print"}                    how many sheets the page takes on paper
    {"do": "fresh"}                    closes every tab but a new one
"""

import base64
import json
import os
import pathlib
import queue
import re
import socket
import subprocess
import sys
import threading
import time
import zlib

kind, home, downloads, *more = sys.argv[1:]
HOME = pathlib.Path(home)
PATIENCE = 45.0
# What is asked of a page itself: the same words in both browsers.
LOOK = "return {address: location.href, title: document.title, text: document.body ? document.body.innerText : ''}"


class Failed(Exception):
    pass


class Chromium:
    FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--remote-debugging-pipe", "--autoplay-policy=no-user-gesture-required"]

    def __init__(self):
        (its_in, to_it), (from_it, its_out) = os.pipe(), os.pipe()
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f'exec "$0" "$@" 3<&{its_in} 4>&{its_out}', "chromium", *self.FLAGS, *more,
             f"--user-data-dir={HOME / 'profile'}", "about:blank"],
            pass_fds=(its_in, its_out), stdin=subprocess.DEVNULL, stdout=sys.stderr,
        )
        os.close(its_in), os.close(its_out)
        self.out, self.number = os.fdopen(to_it, "wb"), 0
        self.replies, self.events = {}, queue.Queue()
        self.arrived = threading.Condition()
        threading.Thread(target=self._read, args=(os.fdopen(from_it, "rb"),), daemon=True).start()
        self._ask("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": downloads})
        self.session, self.tab = None, None
        self.fresh()

    def _read(self, stream):
        unread = b""
        while octets := os.read(stream.fileno(), 1 << 20):
            *messages, unread = (unread + octets).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    with self.arrived:
                        self.replies[message["id"]] = message
                        self.arrived.notify_all()
                else:
                    self.events.put(message)
        with self.arrived:
            self.replies = None
            self.arrived.notify_all()

    def _ask(self, method, parameters=None, session=None):
        self.number += 1
        order = {"id": self.number, "method": method, "params": parameters or {}}
        if session:
            order["sessionId"] = session
        self.out.write(json.dumps(order).encode() + b"\0")
        self.out.flush()
        with self.arrived:
            if not self.arrived.wait_for(lambda: self.replies is None or self.number in self.replies, PATIENCE):
                raise Failed(f"{method}: no answer")
            if self.replies is None:
                raise Failed(f"{method}: the browser is gone")
            reply = self.replies.pop(self.number)
        if "error" in reply:
            raise Failed(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def fresh(self):
        old = [target["targetId"] for target in self._ask("Target.getTargets")["targetInfos"] if target["type"] == "page"]
        self.tab = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self._ask("Target.attachToTarget", {"targetId": self.tab, "flatten": True})["sessionId"]
        for target in old:
            try:
                self._ask("Target.closeTarget", {"targetId": target})
            except Failed as why:
                # A window that was opened for a download closes by itself.
                if "No target" not in str(why):
                    raise
        for domain in "Page", "Network":
            self._ask(f"{domain}.enable", session=self.session)
        self._ask("Page.setLifecycleEventsEnabled", {"enabled": True}, self.session)

    def issuer(self):
        return self.issuer_of_document

    def open(self, url):
        self.issuer_of_document = None
        # Pages that were there before: one of them may still have to say that it is loaded.
        past = set()
        while not self.events.empty():
            past.add(self.events.get()["params"].get("loaderId"))
        answer = self._ask("Page.navigate", {"url": url}, self.session)
        error = answer.get("errorText")
        if error or "loaderId" not in answer:
            return error
        end = time.monotonic() + PATIENCE
        while (left := end - time.monotonic()) > 0:
            try:
                event = self.events.get(timeout=left)
            except queue.Empty:
                break
            if event.get("sessionId") != self.session:
                continue
            if event["method"] == "Network.responseReceived" and event["params"]["type"] == "Document":
                security = event["params"]["response"].get("securityDetails", {})
                self.issuer_of_document = self.issuer_of_document or security.get("issuer")
            elif event["method"] == "Page.lifecycleEvent":
                happened = event["params"]
                mine = happened["frameId"] == answer["frameId"] and happened["loaderId"] not in past
                if mine and happened["name"] == "load":
                    return None
        raise Failed(f"{url} is not loaded")

    def run(self, script):
        answer = self._ask("Runtime.evaluate", {
            "expression": "(async () => {" + script + "})()", "awaitPromise": True, "returnByValue": True, "userGesture": True,
        }, self.session)
        if "exceptionDetails" in answer:
            raise Failed(answer["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        return answer["result"].get("value")

    def keys(self, letter, command):
        key = {"modifiers": 2, "key": letter, "code": f"Key{letter.upper()}", "windowsVirtualKeyCode": ord(letter.upper())}
        self._ask("Input.dispatchKeyEvent", {"type": "rawKeyDown", "commands": [command] if command else [], **key}, self.session)
        self._ask("Input.dispatchKeyEvent", {"type": "keyUp", **key}, self.session)

    def print(self):
        return self._ask("Page.printToPDF", session=self.session)["data"]

    def close(self):
        try:
            self._ask("Browser.close")
        except (Failed, OSError):
            pass


class Firefox:
    PREFERENCES = {
        "browser.download.folderList": 2, "browser.download.dir": downloads, "browser.download.alwaysOpenPanel": False,
        "browser.shell.checkDefaultBrowser": False, "datareporting.policy.dataSubmissionEnabled": False,
        "dom.disable_open_during_load": False, "media.autoplay.default": 0, "marionette.port": 0,
        "app.update.enabled": False, "browser.aboutwelcome.enabled": False, "fission.webContentIsolationStrategy": 0,
    }

    def __init__(self):
        profile = HOME / "profile"
        profile.mkdir(exist_ok=True)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in self.PREFERENCES.items()]
        (profile / "user.js").write_text("".join(lines))
        self.process = subprocess.Popen(
            ["firefox-esr", "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", *more,
             "--profile", str(profile), "about:blank"],
            stdin=subprocess.DEVNULL, stdout=sys.stderr, env={**os.environ, "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        port, end = profile / "MarionetteActivePort", time.monotonic() + PATIENCE
        while not (port.exists() and port.read_text()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed("Firefox does not listen")
            time.sleep(0.02)
        self.stream = socket.create_connection(("127.0.0.1", int(port.read_text())), PATIENCE)
        self.unread, self.number = b"", 0
        self._receive()
        self._ask("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {
            "pageLoadStrategy": "normal", "timeouts": {"script": 40000, "pageLoad": 40000}}}})

    def _receive(self):
        while b":" not in self.unread or len(self.unread) < sum(self._length()):
            octets = self.stream.recv(65536)
            if not octets:
                raise Failed("the browser is gone")
            self.unread += octets
        start, length = self._length()
        message, self.unread = self.unread[start:start + length], self.unread[start + length:]
        return json.loads(message)

    def _length(self):
        digits, _, _ = self.unread.partition(b":")
        return len(digits) + 1, int(digits)

    def _ask(self, name, parameters=None):
        self.number += 1
        message = json.dumps([0, self.number, name, parameters or {}]).encode()
        self.stream.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        if error:
            raise Failed(f"{name}: {error['error']}: {error['message']}")
        return result.get("value", result) if isinstance(result, dict) else result

    def fresh(self):
        old = self._ask("WebDriver:GetWindowHandles")
        new = self._ask("WebDriver:NewWindow", {"type": "tab", "focus": True})["handle"]
        for handle in old:
            self._ask("WebDriver:SwitchToWindow", {"handle": handle})
            self._ask("WebDriver:CloseWindow")
        self._ask("WebDriver:SwitchToWindow", {"handle": new})

    def open(self, url):
        try:
            self._ask("WebDriver:Navigate", {"url": url})
        except Failed as failure:
            return str(failure)
        return None

    def run(self, script):
        return self._ask("WebDriver:ExecuteAsyncScript", {
            "script": "const done = arguments[0]; (async () => {" + script + "})().then(v => done({ok: v}), e => done({bad: String(e)}))",
            "args": [], "newSandbox": True, "sandbox": None,
        }).get("ok")

    def issuer(self):
        return self.press("return gBrowser.securityUI.secInfo?.serverCert?.issuerCommonName")

    def press(self, script):
        self._ask("Marionette:SetContext", {"value": "chrome"})
        try:
            return self.run(script)
        finally:
            self._ask("Marionette:SetContext", {"value": "content"})

    def keys(self, letter, command):
        control = "\ue009"
        self._ask("WebDriver:PerformActions", {"actions": [{"type": "key", "id": "keyboard", "actions": [
            {"type": kind, "value": value}
            for kind, value in [("keyDown", control), ("keyDown", letter), ("keyUp", letter), ("keyUp", control)]
        ]}]})

    def print(self):
        return self._ask("WebDriver:Print")

    def close(self):
        try:
            self._ask("Marionette:Quit", {"flags": ["eForceQuit"]})
        except (Failed, OSError):
            pass


def sheets(document):
    """Pages of a PDF, whose objects may be packed."""
    packed = re.findall(rb"stream\r?\n(.*?)endstream", document, re.DOTALL)
    for stream in packed:
        try:
            document += zlib.decompressobj().decompress(stream)
        except zlib.error:
            pass
    return len(re.findall(rb"/Type\s*/Page\b", document))


def obey(browser, order):
    match order["do"]:
        case "open":
            return browser.open(order["url"])
        case "run":
            return browser.run(order["script"])
        case "press":
            return browser.press(order["script"])
        case "look":
            return browser.run(LOOK)
        case "issuer":
            return browser.issuer()
        case "keys":
            return browser.keys(order["letter"], order["command"])
        case "print":
            return sheets(base64.b64decode(browser.print()))
        case "fresh":
            return browser.fresh()


browser = {"chromium": Chromium, "firefox": Firefox}[kind]()
print(json.dumps({"ok": None}), flush=True)
for line in sys.stdin:
    try:
        answer = {"ok": obey(browser, json.loads(line))}
    except (Failed, OSError) as failure:
        answer = {"error": f"{failure} ({kind}'s exit status: {browser.process.poll()})"}
    print(json.dumps(answer), flush=True)
# Orderly: what it keeps for later is on disk afterwards.
browser.close()
try:
    browser.process.wait(PATIENCE)
except subprocess.TimeoutExpired:
    browser.process.kill()
