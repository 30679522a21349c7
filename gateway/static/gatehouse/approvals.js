// The approver's screens stay current: over a WebSocket, by asking every 3 seconds while there is none. Without this
// file all of it works, too, only that nothing moves.
"use strict";

const POLL_MS = 3000;
const LATEST_MS = 15000;
const SAID_AT = [300, 60, 30, 10];

const say = (text) => {
    const region = document.getElementById("said");
    if (region) region.textContent = text;
};

const inWords = (seconds) => {
    const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
    if (days) return `${days} d ${hours % 24} h`;
    if (hours) return `${hours} h ${minutes % 60} min`;
    return `${minutes}:${String(Math.floor(seconds) % 60).padStart(2, "0")}`;
};

// What remains until data-until, by the server's clock: data-now is when the page was written.
const clocksOff = new WeakMap();
const tick = (clock) => {
    if (!clocksOff.has(clock)) clocksOff.set(clock, Date.parse(clock.dataset.now) - Date.now());
    const left = Math.max(0, (Date.parse(clock.dataset.until) - Date.now() - clocksOff.get(clock)) / 1000);
    clock.textContent = left ? inWords(left) : "no time left";
    clock.toggleAttribute("data-soon", left < 60);
    const bar = document.querySelector("progress[data-of]");
    if (bar && "main" in clock.dataset) bar.value = left;
    if (!("main" in clock.dataset)) return;
    const mark = SAID_AT.find((seconds) => Math.ceil(left) === seconds);
    if (mark) say(`${mark >= 60 ? `${mark / 60} min` : `${mark} seconds`} left to decide.`);
};
const tickAll = () => document.querySelectorAll("[data-until]").forEach(tick);

// Calls `shown` with each message of the socket; while it is closed, with what `path` answers.
const follow = (socketPath, path, shown) => {
    let delay = 500;
    let polling;
    const ask = async () => {
        try {
            const answer = await fetch(path, {headers: {Accept: "application/json"}});
            if (answer.ok) shown(await answer.json());
            else if (answer.status === 404) location.replace(location.pathname);
        } catch { /* asked again soon */ }
    };
    const open = () => {
        const socket = new WebSocket(`${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${socketPath}`);
        socket.onopen = () => { clearInterval(polling); polling = undefined; };
        socket.onmessage = ({data}) => { delay = 500; shown(JSON.parse(data)); };
        socket.onclose = ({code}) => {
            if (code === 1000) return;
            polling ??= setInterval(ask, POLL_MS);
            setTimeout(open, delay);
            delay = Math.min(delay * 2, LATEST_MS);
        };
    };
    open();
};

const replacePart = (name, html) => {
    const part = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (!part || part.contains(document.activeElement)) return;
    const template = document.createElement("template");
    template.innerHTML = html;
    part.replaceChildren(template.content);
};

// One request. What somebody types or is about to press is never replaced under her hands: the parts that only tell are,
// and a page that shows other arguments than those asked for now says so and offers the new ones.
const showRequest = (page) => (message) => {
    if (message.revision === Number(page.dataset.revision) && message.outcome === page.dataset.outcome) return;
    if (message.may_decide !== (page.dataset.mayDecide === "yes")) {
        location.replace(location.pathname);
        return;
    }
    if (message.digest !== page.dataset.digest) {
        document.getElementById("changed").hidden = false;
        document.querySelectorAll("button[data-verb]").forEach((button) => { button.disabled = true; });
        return;
    }
    page.dataset.revision = message.revision;
    page.dataset.outcome = message.outcome;
    page.dataset.state = message.state;
    document.querySelectorAll("input[name=revision]").forEach((field) => { field.value = message.revision; });
    Object.entries(message.parts).forEach(([name, html]) => replacePart(name, html));
    say(message.told);
    tickAll();
};

// The inbox. Who has ticked something keeps her list, and is told that there is more.
const showInbox = (inbox) => {
    let known = new Set(inbox.dataset.keys.split(" "));
    return ({keys, waiting}) => {
        const fresh = waiting.filter(({key}) => !known.has(key));
        if (keys === inbox.dataset.keys) return;
        inbox.dataset.keys = keys;
        known = new Set(keys.split(" "));
        fresh.forEach(({key, title}) => notify(key, title));
        if (fresh.length) say(`${fresh.length} new to decide.`);
        const isBusy = inbox.querySelector("input:checked") || inbox.contains(document.activeElement);
        if (isBusy) document.getElementById("changed").hidden = false;
        else refreshList(inbox);
    };
};

const refreshList = async (inbox) => {
    const answer = await fetch(location.href, {headers: {Accept: "text/html"}});
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const list = page.getElementById("list");
    if (list) document.getElementById("list").replaceWith(list);
    tickAll();
};

// Notices of the browser, only for who asked for them.
const notify = (key, title) => {
    if (!("Notification" in window) || Notification.permission !== "granted" || localStorage.getItem("notices") !== "on") return;
    const notice = new Notification("Somebody must decide", {body: title, tag: key});
    notice.onclick = () => { window.focus(); location.assign(`/approvals/${key}/`); };
};

const offerNotices = (button) => {
    if (!("Notification" in window) || Notification.permission === "denied") return;
    const isOn = () => Notification.permission === "granted" && localStorage.getItem("notices") === "on";
    const shown = () => {
        button.hidden = false;
        button.textContent = isOn() ? "Stop browser notices" : "Notify me in this browser";
        button.setAttribute("aria-pressed", isOn());
    };
    button.addEventListener("click", async () => {
        if (isOn()) localStorage.setItem("notices", "off");
        else if (await Notification.requestPermission() === "granted") localStorage.setItem("notices", "on");
        shown();
    });
    shown();
};

document.addEventListener("DOMContentLoaded", () => {
    tickAll();
    setInterval(tickAll, 1000);
    document.querySelector("[role=alert][tabindex]")?.focus();
    const page = document.querySelector("[data-request]");
    if (page) follow(`/ws/approvals/${page.dataset.request}/`, `/approvals/${page.dataset.request}/live/`, showRequest(page));
    const inbox = document.querySelector("[data-inbox]");
    if (inbox) follow("/ws/approvals/", "/approvals/live/", showInbox(inbox));
    const button = document.getElementById("notices");
    if (button) offerNotices(button);
});
