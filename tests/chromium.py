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

    def key(self, kind, key, shift=False):
        """One event of a key: "down", also while another is held, or "up"."""
        named = {"Enter": ("Enter", 13, "\r"), " ": ("Space", 32, " "), "Tab": ("Tab", 9, None), "Home": ("Home", 36, None), "Delete": ("Delete", 46, None),
                 "ArrowLeft": ("ArrowLeft", 37, None), "ArrowUp": ("ArrowUp", 38, None), "ArrowRight": ("ArrowRight", 39, None),
                 "ArrowDown": ("ArrowDown", 40, None)}
        code, number, text = named[key] if key in named else (f"Digit{key}", ord(key), key)
        down = {"type": "keyDown" if text else "rawKeyDown", **({"text": text} if text else {})}
        self.call("Input.dispatchKeyEvent", key=key, code=code, windowsVirtualKeyCode=number, modifiers=8 * shift,
                  **(down if kind == "down" else {"type": "keyUp"}))

    def press(self, key, shift=False):
        self.key("down", key, shift)
        self.key("up", key, shift)
        self.settle()

    def stroke(self, points, touch=False):
        """Draws along [x, y] of the window, with the mouse or a finger."""
        for i, (x, y) in enumerate(points):
            if touch:
                self.call("Input.dispatchTouchEvent", type="touchMove" if i else "touchStart", touchPoints=[{"x": x, "y": y}])
            else:
                self.call("Input.dispatchMouseEvent", type="mouseMoved" if i else "mousePressed", x=x, y=y, button="left",
                          buttons=1, clickCount=0 if i else 1)
        if touch:
            self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        else:
            self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)
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


def finish():
    """Ends the program: exit status 1 when a check failed."""
    raise SystemExit(1 if failures else 0)
