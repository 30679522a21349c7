"use strict";
/* What went wrong with a passkey is said on the page; the library only writes it to the console. */
document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    document.getElementById("passkey-problem").hidden = false;
});
