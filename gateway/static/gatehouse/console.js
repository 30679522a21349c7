// What the screens share: buttons that copy, and a WebSocket that comes back.
"use strict";

document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const text = source ? source.textContent.trim() : button.dataset.copyText;
    const label = button.textContent;
    const name = button.getAttribute("aria-label");
    const say = (words) => {
        button.textContent = words;
        if (name) button.setAttribute("aria-label", words);
    };
    try {
        await navigator.clipboard.writeText(text);
        say("Copied");
    } catch {
        if (source) getSelection().selectAllChildren(source);
        say("Press Ctrl-C");
    }
    setTimeout(() => {
        button.textContent = label;
        if (name) button.setAttribute("aria-label", name);
    }, 2000);
});

// gatehouse.live("/ws/…", message => …): `message` is parsed JSON; reconnects, ever later, until the server says 1000
// or the function it returns is called.
window.gatehouse = {
    live(path, onMessage) {
        let delay = 500;
        let socket;
        let isOver = false;
        const open = () => {
            if (isOver) return;
            const scheme = location.protocol === "https:" ? "wss:" : "ws:";
            socket = new WebSocket(`${scheme}//${location.host}${path}`);
            socket.onmessage = (event) => { delay = 500; onMessage(JSON.parse(event.data)); };
            socket.onclose = (event) => {
                if (event.code === 1000) return;
                setTimeout(open, delay);
                delay = Math.min(delay * 2, 15000);
            };
        };
        open();
        return () => { isOver = true; socket.close(1000); };
    },
};
