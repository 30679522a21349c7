// The wizard and the pages of connectors. Without this file all of them work, with a few more clicks.
"use strict";

// Parts of a form that depend on a choice: data-when="use=new kind=header".
for (const form of document.querySelectorAll("form[data-chooses]")) {
    const show = () => {
        const chosen = new FormData(form);
        for (const part of form.querySelectorAll("[data-when]")) {
            const pairs = part.dataset.when.split(" ").map((pair) => pair.split("="));
            part.hidden = !pairs.every(([name, value]) => chosen.get(name) === value);
        }
    };
    form.addEventListener("change", show);
    show();
}

for (const form of document.querySelectorAll("form[data-submits]")) {
    form.querySelector("button").hidden = true;
    form.addEventListener("change", () => form.submit());
}

// The name that the address suggests, as a hint; left empty, the server takes the same one.
const address = document.getElementById("id_url");
const called = document.getElementById("id_name");
if (address && called && !called.disabled) {
    const dull = new Set("www mcp api com org net io app dev cloud internal local localhost example".split(" "));
    address.addEventListener("input", () => {
        try {
            const labels = new URL(address.value).hostname.toLowerCase().split(".");
            called.placeholder = labels.find((label) => label && !dull.has(label) && !/^\d+$/.test(label)) || "my-server";
        } catch {
            called.placeholder = "";
        }
    });
}

for (const box of document.querySelectorAll("[data-ticks]")) {
    const ticks = [...box.closest("fieldset").querySelectorAll("input[type=checkbox]")];
    const count = () => {
        box.querySelector("[data-part=count]").textContent = `${ticks.filter((tick) => tick.checked).length} of ${ticks.length}`;
    };
    box.hidden = false;
    box.addEventListener("click", (event) => {
        const button = event.target.closest("[data-tick]");
        if (!button) return;
        for (const tick of ticks) tick.checked = button.dataset.tick === "all";
        count();
    });
    box.closest("fieldset").addEventListener("change", count);
    count();
}

// The checks tick in over a WebSocket; where none can be opened, the form is sent instead.
for (const form of document.querySelectorAll("form[data-trial]")) {
    const button = form.querySelector("[data-part=button]");
    const status = form.querySelector("[data-part=status]");
    const line = (key) => form.querySelector(`[data-key="${key}"]`);

    const show = (check) => {
        const item = line(check.key);
        item.dataset.state = check.state;
        for (const part of ["state", "text", "remedy"]) item.querySelector(`[data-part=${part}]`).textContent = check[part];
    };

    const finish = (isGood) => {
        button.disabled = false;
        button.textContent = "Test again";
        status.textContent = isGood ? "Done." : "Not finished. What you entered is kept.";
        for (const item of form.querySelectorAll('[data-state="running"]')) item.dataset.state = "waiting";
        const after = document.querySelector("[data-after-trial]");
        if (after && isGood) {
            after.hidden = false;
            after.querySelector("a").focus();
        }
        if (isGood && "reloads" in form.dataset) location.reload();
    };

    const start = () => {
        button.disabled = true;
        status.textContent = "Testing …";
        for (const key of ["address", "connection", "protocol", "access", "tools", "kept"]) show({ key, state: "waiting", text: "", remedy: "" });
        const scheme = location.protocol === "https:" ? "wss:" : "ws:";
        const socket = new WebSocket(`${scheme}//${location.host}${form.dataset.trial}`);
        let isOpen = false;
        let isOver = false;
        socket.onopen = () => { isOpen = true; };
        socket.onmessage = (event) => {
            const message = JSON.parse(event.data);
            if (!message.done) return show(message);
            isOver = true;
            finish(message.ok);
        };
        socket.onclose = () => {
            if (isOver) return;
            if (isOpen) return finish(false);
            form.submit();
        };
    };

    form.addEventListener("submit", (event) => { event.preventDefault(); start(); });
    if ("starts" in form.dataset) start();
}
