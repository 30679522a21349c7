// Who works by keyboard begins in the page, not in the sidebar. The address of a successor shows only where somebody is to get the agent; a running offboarding tells its progress.
"use strict";

const successorShown = (select) => {
    const address = select.nextElementSibling;
    address.hidden = select.value !== "pass";
    address.required = select.value === "pass";
};

const listed = (list, texts) => {
    list.replaceChildren(...texts.map((text) => {
        const line = document.createElement("li");
        line.append(...text);
        return line;
    }));
};

const badge = (text, tone) => {
    const span = document.createElement("span");
    span.className = "gh-badge";
    span.dataset.tone = tone;
    span.textContent = text;
    return span;
};

const shown = (message) => {
    if (message.done) {
        location.reload();
        return;
    }
    document.getElementById("headline").textContent = message.headline;
    const state = document.getElementById("state");
    state.textContent = message.label;
    state.dataset.tone = message.tone;
    listed(document.getElementById("gateways"), message.gateways.map(({ name, milliseconds }) => [
        name,
        milliseconds === null ? badge("not yet", "warn") : badge(`after ${milliseconds} ms`, "good"),
    ]));
    listed(document.getElementById("calls"), message.calls.map((fate) => [fate]));
};

document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-fate]").forEach((select) => {
        successorShown(select);
        select.addEventListener("change", () => successorShown(select));
    });
    document.querySelector("[name=all_to]")?.addEventListener("input", () => {
        document.querySelector("[name=all][value=pass]").checked = true;
    });
    (document.querySelector("[role=alert][tabindex]") || document.querySelector("[data-start]"))?.focus();
    const running = document.querySelector("[data-live]");
    if (running) window.gatehouse.live(running.dataset.live, shown);
});
