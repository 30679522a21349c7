// Forms of the admin: asks what a change would do while somebody types; searches in pickers; adds rules.
"use strict";

(() => {
    const DELAY = 450;

    const later = (work) => {
        let timer;
        return (...given) => {
            clearTimeout(timer);
            timer = setTimeout(() => work(...given), DELAY);
        };
    };

    // The server's own page fragment, escaped there; parsed apart, so that nothing in it runs.
    const replaceWith = (place, html) => {
        place.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
    };

    const showImpact = (form, place) => {
        let asked = 0;
        return later(async () => {
            const number = ++asked;
            place.setAttribute("data-waiting", "");
            try {
                const answer = await fetch(place.dataset.impactUrl, { method: "POST", body: new FormData(form) });
                const html = await answer.text();
                if (number === asked && answer.ok && !answer.redirected) replaceWith(place, html);
            } finally {
                if (number === asked) place.removeAttribute("data-waiting");
            }
        });
    };

    const askMatches = async (field) => {
        const place = document.getElementById(field.dataset.matches);
        const query = new URLSearchParams(field.value.split("\n").map((line) => ["glob", line.trim()]));
        if (field.dataset.connector) query.append("connector", field.dataset.connector);
        const answer = await fetch(`${field.dataset.matchesUrl}?${query}`);
        if (answer.ok && !answer.redirected) place.textContent = (await answer.json()).told;
    };
    const showMatches = later(askMatches);

    const search = (picker, words) => {
        for (const group of picker.querySelectorAll("details")) {
            let found = 0;
            for (const item of group.querySelectorAll("li")) {
                item.hidden = !words.every((word) => item.textContent.toLowerCase().includes(word));
                found += !item.hidden;
            }
            group.hidden = found === 0 && words.length > 0;
            if (words.length && found) group.open = true;
        }
    };

    const count = (group) => {
        const place = group.querySelector("[data-count]");
        if (place) place.textContent = `${group.querySelectorAll("input[type=checkbox]:checked").length} chosen`;
    };

    const addRule = (rules) => {
        const total = rules.querySelector("input[name$=-TOTAL_FORMS]");
        const html = rules.querySelector("template").innerHTML.replaceAll("__prefix__", total.value);
        const made = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
        rules.querySelector("[data-rules]").append(made);
        total.value = Number(total.value) + 1;
        made.querySelector("select, input, textarea").focus();
    };

    document.addEventListener("DOMContentLoaded", () => {
        const place = document.getElementById("impact");
        const form = place && place.closest("form");
        const ask = form ? showImpact(form, place) : () => {};
        if (form) {
            form.addEventListener("input", ask);
            form.addEventListener("change", ask);
            if (window.django && window.django.jQuery) window.django.jQuery(form).on("change", "select", ask);
        }
        for (const field of document.querySelectorAll("[data-matches]")) {
            if (field.value && !document.getElementById(field.dataset.matches).textContent) askMatches(field);
        }
        document.addEventListener("input", (event) => {
            const field = event.target;
            if (field.matches("[data-matches]")) showMatches(field);
            if (field.matches("[data-picker-search]")) {
                search(field.closest(".gh-picker"), field.value.toLowerCase().split(/\s+/).filter(Boolean));
            }
        });
        document.addEventListener("change", (event) => {
            const group = event.target.closest(".gh-picker details");
            if (group) count(group);
            const rule = event.target.matches("input[name$=-DELETE]") && event.target.closest(".gh-rule");
            if (rule) rule.toggleAttribute("data-gone", event.target.checked);
        });
        document.addEventListener("click", (event) => {
            const button = event.target.closest("[data-add-rule]");
            if (button) addRule(button.closest(".gh-rules"));
        });
        for (const part of document.querySelectorAll("[data-add-rule], [data-picker-search]")) part.hidden = false;
        for (const part of document.querySelectorAll("[data-without-scripts]")) part.hidden = true;
    });
})();
