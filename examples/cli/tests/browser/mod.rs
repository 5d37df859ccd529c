//! Debian's chromium, driven by chromedriver: WebDriver is JSON over HTTP.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

/// The key of an element in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// As long as anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one window. It ends with this.
pub struct Browser {
    driver: Child,
    session: String,
    agent: Agent,
    _folder: TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts; it is in Debian's chromium-driver");
        let output = BufReader::new(driver.stdout.take().expect("it is piped"));
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.expect("chromedriver says its port");
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();

        let folder = TempDir::new().unwrap();
        let profile = format!("--user-data-dir={}", folder.path().display());
        let arguments = [
            "--headless",
            // Root has no sandbox.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &profile,
            "about:blank",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let mut browser =
            Self { driver, session: format!("http://127.0.0.1:{port}/session"), agent, _folder: folder };
        let session = browser.post("", &wanted);
        browser.session += &format!("/{}", session["sessionId"].as_str().expect("a session"));
        browser.size(1280, 900);
        browser.post("/url", &json!({"url": "about:blank"}));
        // Its first window is its own affair.
        browser.log("performance");
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let sent = self
            .agent
            .post(format!("{}{path}", self.session))
            .content_type("application/json")
            .send(body.to_string());
        let mut response = sent.unwrap_or_else(|error| panic!("chromedriver, {path}: {error}"));
        let status = response.status();
        // Pictures of long pages are large.
        let text =
            response.body_mut().with_config().limit(1 << 28).read_to_string().expect("it answers whole");
        assert!(status.is_success(), "chromedriver, {path} {body}: {text}");
        let mut all: Value = serde_json::from_str(&text).expect("JSON");
        all["value"].take()
    }

    /// A command of the developer tools' protocol.
    fn tools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    pub fn open(&self, page: &Path) {
        let mut url = String::from("file://");
        for byte in page.as_os_str().as_encoded_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' => url.push(char::from(*byte)),
                byte if byte.is_ascii_alphanumeric() => url.push(char::from(*byte)),
                byte => url += &format!("%{byte:02X}"),
            }
        }
        self.open_url(&url);
    }

    pub fn open_url(&self, url: &str) {
        // A change of what is behind # alone loads nothing.
        self.post("/url", &json!({"url": "about:blank"}));
        self.post("/url", &json!({"url": url}));
    }

    pub fn open_without_script(&self, page: &Path) {
        self.tools("Emulation.setScriptExecutionDisabled", json!({"value": true}));
        self.open(page);
        // What asks about the page is script as well.
        self.tools("Emulation.setScriptExecutionDisabled", json!({"value": false}));
    }

    /// What a function body returns in the page.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Until an expression is true.
    pub fn wait(&self, condition: &str) {
        let start = Instant::now();
        while self.run(&format!("return {condition}"), &[]) != true {
            assert!(start.elapsed() < PATIENCE, "{condition}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn element(&self, selector: &str) -> String {
        let element = self.post("/element", &json!({"using": "css selector", "value": selector}));
        element[ELEMENT].as_str().expect("an element").to_string()
    }

    pub fn click(&self, selector: &str) {
        self.post(&format!("/element/{}/click", self.element(selector)), &json!({}));
    }

    /// Types in place of what was there.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// Gives a file to a file input.
    pub fn choose(&self, selector: &str, file: &Path) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/value"), &json!({"text": file}));
    }

    /// Presses keys, wherever the focus is.
    pub fn keys(&self, text: &str) {
        let presses = text
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})));
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": presses.collect::<Vec<_>>()});
        self.post("/actions", &json!({"actions": [keyboard]}));
    }

    pub fn size(&self, width: u32, height: u32) {
        let mobile = width < 600;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": if mobile { 2 } else { 1 }, "mobile": mobile});
        self.tools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// `light` or `dark`.
    pub fn scheme(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.tools("Emulation.setEmulatedMedia", json!({"media": "", "features": features}));
    }

    /// As on paper.
    pub fn print(&self) {
        let features = json!([{"name": "prefers-color-scheme", "value": "light"}]);
        self.tools("Emulation.setEmulatedMedia", json!({"media": "print", "features": features}));
        let pdf = self.tools("Page.printToPDF", json!({}));
        let pdf = BASE64_STANDARD.decode(pdf["data"].as_str().expect("a document")).expect("base64");
        assert!(pdf.starts_with(b"%PDF-"));
        self.size(800, 1100);
    }

    /// The roles and names that assistive technology is told.
    pub fn accessible(&self) -> Vec<(String, String)> {
        let tree = self.tools("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("nodes").iter().filter(|node| node["ignored"] == false);
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_string();
        nodes.map(|node| (text(&node["role"]), text(&node["name"]))).collect()
    }

    /// Leaves a picture of the whole page in `SECCOMP_PAGE_PICTURES`, or in cargo's folder for tests.
    pub fn look(&self, name: &str) {
        let folder = std::env::var_os("SECCOMP_PAGE_PICTURES")
            .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages"), PathBuf::from);
        fs::create_dir_all(&folder).expect("a folder for pictures");
        let picture = self.tools("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let picture = BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        fs::write(folder.join(format!("{name}.png")), picture).expect("the picture is written");
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.post("/se/log", &json!({"type": kind}));
        log.as_array().expect("a log").clone()
    }

    /// Nothing was asked for but pages themselves, and nothing failed or was forbidden.
    pub fn is_alone(&self) {
        let console = self.log("browser");
        assert!(console.is_empty(), "{console:?}");
        let mut pages = 0;
        for entry in self.log("performance") {
            let event: Value = serde_json::from_str(entry["message"].as_str().expect("text")).expect("JSON");
            let event = &event["message"];
            let method = event["method"].as_str().expect("a method");
            let is_opened = event["params"]["type"] == "Document"
                && event["params"]["request"]["url"]
                    .as_str()
                    .is_some_and(|url| url.starts_with("file://") && url.ends_with(".html"));
            match method {
                "Network.requestWillBeSent" if is_opened => pages += 1,
                method => assert!(
                    !method.starts_with("Network.requestWillBeSent")
                        && !method.starts_with("Network.webSocket"),
                    "{event}"
                ),
            }
        }
        assert!(pages > 0, "the log has no page");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser with the session; a test that fails has nothing to add to that.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
