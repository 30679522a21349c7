"""One spelling for each host: whoever writes it otherwise means the same machine. Pure."""

import ipaddress
import re
import unicodedata
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from governance.inspection.folding import INVISIBLE


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LONGEST: Final = 253
MOST_LABELS: Final = 40
DOTS: Final = str.maketrans(dict.fromkeys("。．｡", "."))
UNSEEN: Final = dict.fromkeys(map(ord, INVISIBLE))
LABEL: Final = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?|_[a-z0-9-]{1,62}")
NUMBER: Final = re.compile(r"0x[0-9a-f]{0,16}|[0-9]{1,20}")
SECOND_LEVEL: Final = words("ac co com edu gob gov gouv mil ne net nom or org go gv ltd plc sch")
"""Under a country's ending these are endings too: nobody owns `co.uk`."""
SHARED: Final = words(
    "amazonaws.com amplifyapp.com appspot.com atlassian.net auth0.com awsapps.com azureedge.net azurefd.net "
    "azurewebsites.net b-cdn.net backblazeb2.com beeceptor.com blogspot.com bubbleapps.io "
    "burpcollaborator.net cfargotunnel.com cloudapp.azure.com cloudflareaccess.com cloudfront.net "
    "cloudfunctions.net codesandbox.io core.windows.net csb.app cyclic.app deno.dev digitaloceanspaces.com "
    "duckdns.org dynu.net fastly.net firebaseapp.com firebaseio.com fly.dev freshdesk.com gitbook.io "
    "github.dev github.io githubpreview.dev gitlab.io glitch.me hf.space herokuapp.com hubspotpagebuilder.com "
    "interact.sh interactsh.com loca.lt localhost.run lovable.app medium.com mystrikingly.com "
    "my.salesforce.com netlify.app ngrok-free.app ngrok.app ngrok.dev ngrok.io no-ip.org nip.io notion.site "
    "oast.fun oast.live oast.me oast.online oast.pro oast.site okta.com onmicrosoft.com onrender.com "
    "pages.dev pipedream.net pythonanywhere.com r2.dev railway.app readthedocs.io replit.app repl.co "
    "requestcatcher.com run.app serveo.net service-now.com servicebus.windows.net sharepoint.com shopify.com "
    "slack.com sslip.io stackblitz.io streamlit.app substack.com supabase.co surge.sh trafficmanager.net "
    "trycloudflare.com tumblr.com typeform.com up.railway.app vercel.app vercel.dev w3spaces.com web.app "
    "webflow.io weebly.com wixsite.com wordpress.com workers.dev xip.io zapto.org zendesk.com zohocreator.com"
)
"""Below these each name belongs to somebody else."""
BY_PATH: Final = {
    **dict.fromkeys(
        words(
            "github.com gist.github.com raw.githubusercontent.com api.github.com gitlab.com bitbucket.org "
            "codeberg.org medium.com notion.so webhook.site pastebin.com hastebin.com paste.ee dpaste.com "
            "rentry.co ghostbin.com t.me telegram.me wa.me bit.ly tinyurl.com t.co is.gd cutt.ly goo.gl rb.gy "
            "transfer.sh file.io gofile.io mega.nz wetransfer.com we.tl imgur.com i.imgur.com cdn.discordapp.com "
            "paypal.me buymeacoffee.com requestbin.com hookb.in huggingface.co npmjs.com pypi.org x.com "
            "twitter.com linkedin.com facebook.com youtube.com reddit.com dropbox.com onedrive.live.com 1drv.ms "
            "forms.gle calendly.com airtable.com s3.amazonaws.com storage.googleapis.com beeceptor.com smee.io"
        ),
        1,
    ),
    **dict.fromkeys(words("docs.google.com drive.google.com script.google.com sites.google.com forms.office.com"), 3),
    **dict.fromkeys(words("hooks.slack.com discord.com discordapp.com api.telegram.org hooks.zapier.com"), 4),
}
"""Hosts of everybody: who is meant is said by so many parts of the path."""
PUBLIC_MAIL: Final = words(
    "126.com 163.com aol.com duck.com fastmail.com fastmail.fm gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.net "
    "googlemail.com hey.com hotmail.co.uk hotmail.com hotmail.fr icloud.com laposte.net libero.it live.com "
    "mac.com mail.com mail.ru mailinator.com me.com msn.com naver.com outlook.com outlook.de pm.me posteo.de "
    "proton.me protonmail.com qq.com t-online.de tuta.com tutanota.com web.de yahoo.co.uk yahoo.com yahoo.de "
    "yahoo.fr yandex.com yandex.ru zoho.com"
)
"""Whose address it is there only the part before the @ says."""


@lru_cache(maxsize=4096)
def host_of(written: str) -> str:
    """`written` is what stands between the slashes, perhaps with user and port; empty if that is no host."""
    text = unicodedata.normalize("NFKC", unquote(written).translate(UNSEEN)).translate(DOTS).lower()
    text = text.rsplit("@", 1)[-1].strip()
    if text.startswith("["):
        return _address(text[1:].partition("]")[0])
    text = text.partition(":")[0] if text.count(":") < 2 else text
    text = text.rstrip(".")
    if not text or len(text) > LONGEST:
        return ""
    return _address(text) or _name(text)


@lru_cache(maxsize=4096)
def site_of(host: str) -> str:
    """What one owner has all of: the name that was registered, or what is below a name that many share."""
    labels = host.split(".")
    if len(labels) < 3 or _is_address(host):
        return host
    for start in range(1, len(labels) - 1):
        if ".".join(labels[start:]) in SHARED:
            return ".".join(labels[start - 1 :])
    owned = 3 if len(labels[-1]) == 2 and labels[-2] in SECOND_LEVEL else 2
    return ".".join(labels[-owned:])


def tenant_of(host: str, path: str) -> str:
    """Of a host of everybody, whose part of it; empty for other hosts."""
    parts = BY_PATH.get(host.removeprefix("www."))
    if parts is None:
        return ""
    said = [part for part in unquote(path).partition("?")[0].replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join((host.removeprefix("www."), *said[:parts])).lower() if said else ""


def keys_in(subject: str) -> tuple[str, ...]:
    """Of a finding."""
    return tuple(subject.split(" "))


def keys_of_host(host: str, path: str = "") -> tuple[str, ...]:
    tenant = tenant_of(host, path) if path else ""
    return (*((f"at:{tenant}",) if tenant else ()), f"site:{site_of(host)}")


def keys_of_mail(local: str, host: str) -> tuple[str, ...]:
    local = unicodedata.normalize("NFKC", local).lower().partition("+")[0].strip(".")
    if host in ("gmail.com", "googlemail.com"):
        local, host = local.replace(".", ""), "gmail.com"
    whose = f"mail:{local.replace(' ', '')}@{host}"
    return (whose,) if host in PUBLIC_MAIL else (whose, f"site:{site_of(host)}")


def host_in(subject: str) -> str:
    """Whose place it is, of a finding's subject."""
    return subject.rpartition(" ")[2].partition(":")[2]


def _name(text: str) -> str:
    labels = text.split(".")
    if len(labels) > MOST_LABELS or not all(LABEL.fullmatch(label) for label in labels):
        return ""
    return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)


def _address(text: str) -> str:
    """Canonical, of any spelling that programs take for an IP address; empty for a name."""
    try:
        if ":" in text:
            address = ipaddress.IPv6Address(text.partition("%")[0])
            return str(address.ipv4_mapped or address)
        return str(ipaddress.IPv4Address(_ipv4(text)))
    except ValueError:
        return ""


def _ipv4(text: str) -> int:
    """As inet_aton reads it: hexadecimal, octal, and with fewer parts than four. Raises ValueError."""
    parts = text.split(".")
    if len(parts) > 4 or not all(NUMBER.fullmatch(part) for part in parts):
        raise ValueError(text)
    *leading, last = [_number(part) for part in parts]
    if any(each > 255 for each in leading) or last >= 256 ** (4 - len(leading)):
        raise ValueError(text)
    return sum(each << (24 - 8 * place) for place, each in enumerate(leading)) + last


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if len(part) > 1 and part.startswith("0") else int(part)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
