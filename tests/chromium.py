"""Pages in headless Chromium, over its debugging pipe, and checks that print a line each."""
import base64
import json
import os
import pathlib
import subprocess
import time


class Browser:
    """The DevTools protocol: JSON objects that end in a zero, over two pipes."""

    def __init__(self, program, profile):
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()
        arguments = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
                     f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(["bash", "-c", f'exec "$0" "$@" 3<&{to_read} 4>&{back_write}', *arguments],
                                        pass_fds=(to_read, back_write), stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(back_write)
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.back, 1 << 20)
            if not piece:
                raise SystemExit("the browser has ended")
            self.buffer += piece
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.to, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise SystemExit(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def open(self, path):
        """Loads a page; the seconds until it was drawn."""
        self.events.clear()
        start = time.monotonic()
        self.call("Page.navigate", url=pathlib.Path(path).absolute().as_uri())
        while not self.run("document.readyState === 'complete' && document.documentElement.dataset.ready === 'yes'"):
            if time.monotonic() - start > 30:
                raise SystemExit(f"{path}: not drawn after 30 s")
            time.sleep(0.01)
        self.settle()
        return time.monotonic() - start

    def settle(self):
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def press(self, key, code=None, text=None):
        codes = {"Enter": 13, "Tab": 9, " ": 32, "ArrowDown": 40, "ArrowRight": 39, "Home": 36}
        common = {"key": key, "code": code or key, "windowsVirtualKeyCode": codes[key]}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)
        self.settle()

    def write(self, element, text):
        self.run(f"document.getElementById('{element}').focus(); document.getElementById('{element}').select()")
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.run(f"document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('input'))")
        self.settle()

    def size(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def picture(self, path, whole=False):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))

    def complaints(self):
        """What the page reported, threw, or asked the network for; what stands in the page itself (data:) is not asked for."""
        found, loaded = [], []
        for event in self.events:
            method, p = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(p["exceptionDetails"]["exception"].get("description", "exception"))
            elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning"):
                found.append(str(p["args"]))
            elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
                found.append(p["entry"]["text"])
            elif method == "Network.requestWillBeSent" and not p["request"]["url"].startswith("data:"):
                loaded.append(p["request"]["url"])
        found += ["request of " + url for url in loaded if not url.startswith("file:")]
        return found + (["more than the page itself was loaded"] if len(loaded) > 1 else [])


failures = 0


def check(what, wanted, got):
    global failures
    good = wanted(got) if callable(wanted) else wanted == got
    failures += not good
    print(f"{'ok' if good else 'FAILED'}: {what}" + ("" if good else f": {str(got)[:400]}" + ("" if callable(wanted) else f", not {wanted}")))
