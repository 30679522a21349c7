# ruff: noqa: E501
"""Sentences that try to steer a model, as rows of meanings with gaps. Pure data and a pass over it.

Everything here takes time in proportion to the text: words are looked up, and patterns have bounded gaps.
"""

import re
from dataclasses import dataclass
from typing import Final

from governance.inspection.signals import Signal

CORRESPONDENCE: Final = """e mail mails email emails invoice invoices attachment attached version draft file link letter reminder
    meeting invitation invite calendar voicemail call estimate quote offer delivery shipment fax booking
    letters outliers drill courrier lettre facture correo factura carta rechnung schreiben brief fattura lettera fatura pismo письмо"""
"""What people ask each other to ignore or forget."""
VALUES: Final = "value values setting settings state default defaults entry entries method methods definition definitions config build builds"
"""What programs override and ignore."""
OFFICES: Final = (
    "manager managers director directors professor professors coach principal estate travel insurance leasing sales"
)
"""Assistants and agents of flesh and blood."""
DOTTED_ADDRESS: Final = r"(?:\|[^|]){0,2}A"


@dataclass(frozen=True, slots=True)
class Rule:
    """What it weighs; of a family only the heaviest counts in a passage."""

    name: str
    family: str
    weight: float


@dataclass(frozen=True, slots=True)
class Row:
    """A row of meanings; it cannot occur without one of each set in `needs`, nor with a word of `unless` in it or
    right after it."""

    rule: Rule
    pattern: re.Pattern[str]
    needs: tuple[frozenset[str], ...]
    unless: frozenset[str] = frozenset()


def _rule(name: str, weight: float, pattern: str, needs: str, unless: str = "") -> Row:
    """`~6` is a gap of at most six words within a sentence. The dot in `ann.lee@` ends none."""
    within = re.sub(r"~(\d+)", r"[^|]{0,\1}?", pattern).replace("A", DOTTED_ADDRESS)
    needed = tuple(map(frozenset, needs.split()))
    return Row(Rule(name, name.split(".", 1)[0], weight), re.compile(within), needed, frozenset(unless.split()))


ROWS: Final[tuple[Row, ...]] = (
    _rule("override.prior", 4.0, "O~6P~4I|O~5I~3P", "O P I"),
    _rule("override.prior_last", 4.0, "P~4I~6O", "O P I"),
    _rule("override.yours", 3.5, "O~3Y~4I", "O Y I"),
    _rule("override.all", 3.5, "O~3Q~3[IS]", "O Q IS"),
    _rule("override.everything", 3.0, "OQ~3P|O~2Q~3Y", "O Q PY"),
    _rule("override.any", 1.6, "O~4[PI]", "O PI", CORRESPONDENCE),
    _rule("override.command", 2.5, r"(?:^|\||[GYE])x?O~3[PI]", "O PI", f"{CORRESPONDENCE} {VALUES}"),
    _rule("override.previous", 1.6, "O~1P", "O P", f"{CORRESPONDENCE} {VALUES}"),
    _rule("override.last", 2.0, "I~3O", "I O", "override overrides overrule"),
    _rule("override.user", 1.3, "O~1W", "O W"),
    _rule("steering.instead", 1.3, r"N~1H[^|]{0,5}\|E~2[RHc]", "N H E"),
    _rule("override.stop", 2.5, "N~4P~3I", "N P I"),
    _rule("override.new", 1.2, "E~1I|YE~1t|EY~1t", "E It"),
    _rule("role.you_are_now", 1.8, "YyE~6[BJS]|EYy~3[BJ]", "Y y BJSE"),
    _rule("role.play", 1.6, "L~4[BS]|L~6J", "L BSJ"),
    _rule("role.free", 1.8, "J~4[BtY]|[BLY]~4J", "J BtYL"),
    _rule("role.you_are", 1.0, "Yy~3B", "Y y B"),
    _rule("role.reader", 2.4, "Q~2B~4r|B~1r", "B r"),
    _rule("reveal.system", 3.2, "[RMH]~6[SYP]~1I|[RM]~3I~4[YP]|I~3[YPS]~3[RM]", "I RMH SYP"),
    _rule("reveal.secret", 1.1, "[RM]~4K", "K RM"),
    _rule("reveal.secret_of_machine", 2.0, "[RMH]~8YK|C~4[RM]~4K", "K RMH YC"),
    _rule("exfiltration.secret", 3.0, "V~8K~12A|K~10V~6A", "V K A"),
    _rule("exfiltration.secret_link", 1.8, "V~8K~12U|K~10V~6U", "V K U"),
    _rule("exfiltration.data", 2.4, "V~8D~12A|D~8V~6A", "V D A"),
    _rule("exfiltration.data_link", 1.2, "V~8D~12U|D~8V~6U", "V D U"),
    _rule("exfiltration.fill", 1.7, "[cV]~8[KD]~10[TU]|G~3c~10[KD]", "c KD TUG"),
    _rule("exfiltration.send", 1.0, "V~6A", "V A"),
    _rule("exfiltration.answer_to", 1.4, "H~4A~6H?", "H A"),
    _rule("relay.send_body", 1.4, "V~14A~8[fD]|V~8f~8A", "V A fD"),
    _rule("exfiltration.reply", 1.1, "[GFX]~6[VH]~8A", "A GFX VH"),
    _rule("concealment.user", 3.2, "N~3[MR]~4W", "N MR W"),
    _rule("concealment.without", 2.6, "N~1[M]~6W|N~4W~2[Mq]", "N W Mq"),
    _rule("concealment.last", 3.0, "W~6[MR]~3N", "W MR N"),
    _rule("concealment.silent", 1.6, "q~5[VCZRc]|[VCZRc]~6q", "q VCZRc"),
    _rule("coercion.before_tools", 2.2, "F~3C~2Q~3T|F~2Q~3T", "F T CQ"),
    _rule("coercion.before_answer", 1.7, "F~4H~8[VCZ]", "F H VCZ"),
    _rule("coercion.tool", 0.7, "G~4C~5T|B~4[GC]~6T", "T GB GC"),
    _rule("coercion.machine", 1.4, "B~3G~6[VCRZc]", "B G VCRZc", OFFICES),
    _rule("coercion.important", 1.0, "X~6[YB]~4G|X~4I", "X YBI GI"),
    _rule("steering.answer", 1.7, "c~14[iY]?YH|YH~4c|Z~12YH", "Y H cZ"),
    _rule("steering.form", 1.7, "YH~6e|H~6e|e~6YH", "H e"),
    _rule("steering.answer_must", 1.2, "YH~3G|G~5YH", "Y H G"),
    _rule("steering.twist", 1.7, "w~8YH|YH~6w", "w Y H"),
    _rule("steering.tongue", 1.4, "YH~3l", "Y H l"),
    _rule("steering.praise", 1.7, "YH~5p|p~10YH", "p Y H"),
    _rule("steering.your_code", 2.0, "E~1kk?~12Y~1[kH]|Y~1[kH]~12E~1kk?", "E k Y"),
    _rule("steering.code", 3.0, "c~7E~3k~1k?~8[Y]~2[kI]|[Cc]~5E~2kk|kk~8Yk|[Cc]~6kk~8[Y]", "k YcC"),
    _rule("encoded.do", 2.0, "e~8[CI]|[C]~6e~4I", "e CI", "use using binary emoji emojis"),
    _rule("authority.approved", 1.8, "W~4[f]~4|[SW]~3f", "f WS", "must should can may needs need before to"),
)  # fmt: skip

_MARKS: Final = (
    ("override.digits", 2.0, r"\b(?:1gn[o0]r[e3]|ign0r[e3]|ignor3|d[i1]sr3gard|d1sregard|f0rg[e3]t|forg3t|0verr[i1]d[e3])\b"),
    ("spoof.template", 1.0, r"<\|?(?:im_start|im_end|end_?of_?text|begin_of_text|eot_id|start_header_id|end_header_id|end|begin|system|user|assistant|tool)\b[^>|\n]{0,30}\|>|\{\{[#/](?:system|user|assistant)\b[^}\n]{0,20}\}\}|\[/?inst\]|<</?sys>>"),
    ("spoof.tag", 2.6, r"<{1,3}/?\s?(?:system|user|assistant|tool|instructions?|important|admin|prompt|context|override|secret)(?:[ _-](?:prompt|message|note|instructions?))?\s?>"),
    ("spoof.role", 2.2, r"(?:^|\n|\\n|[\"'>\]}*#(] ?)(?:system|developer)(?: (?:message|prompt|note|override|instructions?))?\s?(?:\]|\*\*)?:|(?:^|\n)(?:system|ai|assistant|admin) (?:message|override|instruction) ?[-–—]"),
    ("spoof.speaker", 1.7, r"(?:^|\n|\\n|[\"'>\]}*#(] ?)(?:(?:assistant|ai)(?: (?:message|prompt|note|override|instructions?|notice|alert|update))?|(?:system|developer) (?:notice|alert|update))\s?(?:\]|\*\*)?:|(?:^|\n)(?:system|ai|assistant|admin) (?:notice|alert|update) ?[-–—]"),
    ("spoof.message", 1.0, r"[\"']role[\"']\s?:\s?\\?[\"'](?:system|user|developer)"),
    ("spoof.bracket", 1.7, r"\[(?:system|admin|assistant|ai|llm|developer|important)\b[^\]\n]{0,40}\]|\((?:system|assistant|ai) (?:note|instruction|message)s?\b|(?:###|===|(?:^|[^-])---|\*\*\*|!!!|>>>) ?(?:system|new|begin|end|instructions?|override|admin|important|attention)\b"),
    ("spoof.end", 2.2, r"\b(?:end|start|beginning|begin) of (?:the |this )?(?:user |system |tool |e-?mail )?(?:input|prompts?|instructions?|context|documents?|e-?mails?|quer(?:y|ies)|requests?|results?|output|conversation|data)\b|</(?:context|documents?|email|input|data|results?|query)>"),
    ("spoof.done", 2.4, r"\b(?:consider|mark|treat) (?:this|the|your) (?:previous |original |user'?s? )?task (?:as )?(?:done|complete)|\b(?:real|actual|true|updated|hidden) (?:task|objective|mission|goal)s? ?(?::|->|is\b|for (?:the|you))|\bpart \d of your task|\b(?:simulation|developer|debug|maintenance|god|admin) mode (?:activated|enabled|on\b)"),
    ("role.from_now", 1.7, r"\bfrom (?:now|this (?:point|moment)) on(?:wards?)?,? (?:you|your|respond|answer|act|the (?:assistant|model|ai)|every|all)|\byou are (?:no longer|not) (?:an? )?(?:ai|bound|chatgpt|assistant|language|restricted)|\byou(?:'re| are) going to (?:act|pretend|be )"),
    ("concealment.never", 2.6, r"\b(?:without|don'?t|do not|never|avoid) (?:asking|ask for|telling|tell|mention(?:ing)?|inform(?:ing)?|notify(?:ing)?|alert(?:ing)?|reveal(?:ing)?|show(?:ing)?|disclos(?:e|ing)|confirm(?:ing)? with|wait(?:ing)? for)[^.\n]{0,30} (?:the )?(?:user|human|operator|owner|permission|this (?:step|instruction|message|note|request|tool)|these instructions)\b"),
    ("concealment.unaware", 2.4, r"\b(?:user|human|owner|they|he|she) (?:must|should|will|does|do|need)(?: not|n'?t)(?: need to| ever)? (?:know|see|notice|be (?:told|informed|aware|notified))|\b(?:nobody|no one|no-one) (?:has to|needs? to|must|should|will|may) (?:ever )?(?:know|notice|see|find out)\b|\bsay nothing (?:about|of) (?:it|this|that)\b|\bwithout (?:reading|reviewing|checking|looking at) (?:the |any |its )?(?:diff|content|code|text|details|changes)\b|\bkeep (?:this|it) (?:a )?(?:secret|hidden|confidential|between) (?:from|the|us)"),
    ("exfiltration.image", 3.0, r"!\[[^\]\n]{0,120}\]\(https?://[^)\s]{1,200}[?&/][\w-]{1,30}=[^)\n]{0,40}(?:\{|<|\[|%7b|data|secret|token|base64|summary|history|chat|\.\.\.)"),
    ("exfiltration.shell", 1.1, r"\b(?:curl|wget|iwr|irm)\b[^|\n]{0,200}\|\s?(?:sudo )?(?:ba|z|da)?sh\b|\bbase64 (?:-d|--decode)[^|\n]{0,80}\| ?(?:ba)?sh"),
    ("exfiltration.path", 1.1, r"(?:~|/root|/home/\w{1,32}|%userprofile%)/\.(?:ssh|aws|cursor|kube|gnupg|netrc|npmrc|env|config/gcloud)\b|\bid_rsa\b|\.cursor/mcp\.json|/etc/(?:passwd|shadow)\b"),
    ("relay.body", 1.2, r"\b(?:with|containing|including|body|content|message|saying)\b[^.\n]{0,30}[\"'“‘]{1,2}[^\"'”’\n]{1,60}[\"'”’]{1,2}[^.\n]{0,40}@|@[\w.-]{3,60}[\"'”]?[^.\n]{0,40}\b(?:with|containing|body|content|message|saying)\b"),
    ("coercion.call", 1.4, r"\b(?:tool|function|api)[ _-]calls?\b[^.\n]{0,40}\b(?:send|to|with|must|now)\b|\b(?:make|issue|trigger|perform|generate) (?:the |a |an )?(?:correct |proper |following )?(?:tool|function|api)[ _-]call"),
    ("reveal.which", 1.8, r"\bwhat (?:\w+ )?(?:instructions|rules|orders|directions) (?:have|were|did|are|do)\b|\b(?:go against|violate|break|abandon|contradict) (?:your|all|the) (?:instructions|rules|guidelines|programming|policies)"),
    ("role.if_machine", 2.6, r"\bif you(?:'re| are) (?:an? )?(?:ai|llm|language model|assistant|chatbot|agent|bot|automated)\b|\b(?:dear|hey|hello|attention|note to|message (?:to|for)|instructions? for)[:,]? (?:the |any |all |every )?(?:ai ?[,:;!.)\n—–-]|ai (?:agents?|assistants?|models?|systems?|bots?|readers?|reading|processing|summari|that|who|which|please|you\b)|(?:llms?|language models?|assistants?|chatbots?|bots?)\b)|\bas an? (?:ai|llm|language model)\b[^.\n]{0,30} (?:you|must|please)"),
    ("authority.user", 1.6, r"\b(?:the|your) (?:user|owner|operator|human|developer|admin(?:istrator)?)(?: has| have)? (?:already )?(?:approved|agreed|authori[sz]ed|consented|confirmed|requests?|requested|wants?|asked)\b|\bi am (?:the|your) (?:user|owner|developer|administrator|admin|creator)\b|\bthis is (?:the|your) (?:user|owner|developer|admin)"),
    ("encoded.follow", 2.4, r"\b(?:decode|decrypt|unscramble|deobfuscate)\b[^.\n]{0,80}\b(?:follow|execute|obey|run|do what|carry out|comply)"),
    ("reveal.what", 2.4, r"\bwhat (?:is|are|was|were|did|does)[^.?\n]{0,40}\b(?:your|initial|system|original|first|previous)\b[^.?\n]{0,20} (?:instructions?|prompts?|rules|message|guidelines|directions)|\b(?:text|words|message|everything|prompt|instructions|content) (?:above|before this)\b[^.\n]{0,30}(?:repeat|print|output|verbatim)?|\brepeat (?:everything|all|the (?:words|text))"),
    ("coercion.required", 1.7, r"\b(?:this tool|this function|it) (?:supersedes|replaces|overrides|takes precedence over|must be (?:called|used) (?:before|instead|first))|\b(?:never|do not|don'?t) use (?:any )?(?:other|the other|another) (?:tools?|functions?)|\binstead of the (?:address|recipient|account|value|one)s? (?:given|provided|specified|chosen)|\b(?:before|prior to) (?:every|each|any) (?:other )?(?:tool|function|call|request|task|action|answer|reply)\b"),
    ("coercion.changes", 2.4, r"\b(?:changes|modifies|alters|overrides|affects) the behaviou?r of\b|\bwhen(?:ever)? (?:the )?[\w.]{2,40} (?:tool )?is (?:available|called|used|invoked),"),
    ("role.whoever_reads", 2.0, r"\b(?:note|message|instructions?|notice|reminder|attention|p\.?s\.?|todo|info|hint|request|memo|task)\b[^.\n]{0,12} (?:to|for) (?:the |any |all |every |our )?(?:(?:next |automated |reading |responsible )*(?:bots?|ai|ais|llms?|summari[sz]ers?|chatbots?|copilots?|crawlers?|automation)\b|(?:ai|automated|(?:large )?language|virtual|digital|generative|intelligent) \w+|(?:whoever|anyone|anybody|whatever|everything) (?:who |that |which )?(?:is )?(?:automatically |currently )?(?:process|read|answer|handl|summar|pars|index)\w*)|\b(?:processed|read|handled|answered|executed|followed) by (?:the |any |an? |your )?(?:large )?(?:ai|llm|bot|language model|automated|chatbot|copilot)\b|\b(?:any(?:one|body)?|whoever|whatever|all (?:bots|systems|agents|models)|agents|systems|bots) (?:that |who |which |can |is )?(?:\w+ )?(?:answering|reading|processing|handling|summari[sz]ing|parsing|reads?|process(?:es)?|summari[sz]es) (?:this|these|the (?:above|page|mail|e-?mail|message|document|ticket|review|text))\b|\b(?:automated|automatic|machine|artificial) (?:readers?|agents?|assistants?|summari[sz]ers?|reviewers?)\b[^.\n]{0,40}(?::|,? (?:must|should|shall|please|need to|has to|have to|are to))|\b(?:required|requested|expected|needed) (?:by|of|from) (?:the |an |any )?(?:ai|llm|bot|agent|assistant)s?\b|\b(?:digital|virtual|ai) (?:helper|butler|secretary|worker)\b|\bto (?:the |any )?(?:agent|assistant|bot|ai|model|helper)s? (?:handling|processing|reading|working|answering|summari[sz]ing)\b|\bfor (?:the |any )?(?:coding|reviewing|browsing|booking|support|automated) (?:agents?|bots?|assistants?)\b[^.\n]{0,3}:|\bas the (?:ai|assistant|model|llm)\b[^.\n]{0,40} you\b|\b(?:reviewer|automated|screening|parser|summary) bots? (?:should|must|need|shall)\b"),
    ("role.comment", 1.6, r"<!--\s{0,5}(?:for |to |dear |hey |note to )?(?:the )?(?:ai|agent|assistant|bot|llm|model|copilot|chatbot|claude|gpt)s?\b"),
    ("override.turn", 2.0, r"\b(?:above|that|this|so far|everything before|previous (?:text|part|message)) (?:was|is) (?:only |just |merely )?(?:a test|an? (?:example|exercise|drill|decoy|dummy)|not the (?:real|actual))\b|\b(?:your|the) (?:actual|real|true|genuine|hidden) (?:assignment|task|job|instructions?|orders?|mission|objective|request|duty|purpose|prompt)\b"),
    ("override.come_across", 1.8, r"\b(?:should|if|when|once) you (?:come across|see|find|read|encounter|notice|reach) this (?:line|text|message|note|sentence|paragraph|comment|page)\b|\bconsider yourself (?:free|released|bound|unbound|authori[sz]ed|exempt)\b|\byour (?:guidelines|policies|rules|instructions|permissions|objectives) (?:have |has )?(?:been )?(?:changed|updated|extended|lifted|replaced|relaxed)\b"),
    ("reveal.inner", 2.0, r"\byour (?:chain of thought|hidden (?:notes|instructions|rules|prompt)|context window|(?:own |full |complete |entire |whole )*(?:set of )?(?:system |initial |internal |operating |underlying |base )(?:prompt|instructions|configuration|guidelines))\b|\b(?:echo|repeat|print|post|quote|include) the authori[sz]ation header\b[^.\n]{0,30}\b(?:answer|reply|response|chat|comment)\b"),
    ("override.changed", 0.9, r"\byou (?:now )?have (?:new|been granted|been given|received) (?:permissions|rights|privileges)\b|\bfollow(?:ing)? (?:the |all )?(?:steps|instructions|orders) (?:there|given there|found there|at http|on that page)|\b(?:i|the user|user|we|he|she) (?:have |has )?changed (?:my|his|her|their|our) minds?\b[^.\n]{0,20}(?:instead|please|now|:|,)|\b(?:forget|drop|skip|leave) (?:about )?(?:the|that|this|your) (?:summary|report|task|question|original|rest|request|translation|search|booking)\b|\b(?:new|next|following|additional|secondary) (?:task|objective|mission|goal)s? ?(?::|->|=|is\b|for (?:the|you))|\bwhatever you (?:were|are) doing\b"),
    ("coercion.before_you", 1.1, r"\b(?:before|prior to) (?:you )?(?:go on|going on|continu\w+|proceed\w*|carry(?:ing)? on|complet\w+|finish\w*|solv\w+|giv(?:e|ing)|show(?:ing)?|return(?:ing)?|present(?:ing)?|start\w* (?:with )?(?:the|your)|answer\w*|respond\w*|do(?:ing)? (?:what|anything)|perform\w*|execut\w+) [^.\n]{0,60}(?:please|first|you (?:must|need|have|should)|make sure)\b|\bwhile (?:you(?:'re| are) )?(?:at it|doing (?:this|that|so)|(?:translating|summari[sz]ing|answering|processing|reading|working on) (?:it|this|that|the)?)\b[^.\n]{0,40}\b(?:also|insert|please|add|could you|send|include|make)\b"),
    ("coercion.order", 0.8, r"\b(?:do|perform|execute|carry out|complete) the following (?:(?:steps|actions|tasks|things|commands?|operations?)\b[^.\n]{0,30})?(?:in (?:this|exactly this|the given|exact|that)\b|now|immediately|at once|before|first|without)"),
    ("coercion.to_finish", 1.0, r"\b(?:in order )?to (?:complete|finish|solve|continue|resolve|fulfil+|unlock|proceed with) (?:the|this|your|my) (?:task|request|ticket|job|workflow|process|summary|answer|question)\b[^.\n]{0,40}\b(?:you (?:must|need|have|should)|first|please|it is necessary)|\b(?:next|last|final|remaining|missing) step (?:in|of|for|to complete) (?:this|the|your) (?:workflow|task|request|process|job) is to\b"),
    ("steering.final", 0.8, r"\bin (?:your|the) (?:final|next|following) (?:answer|reply|response|output|summary|report)\b|\b(?:end|start|begin|finish|close|conclude|open) (?:your|the|every|each) (?:answer|reply|response|output|summary)\b|\b(?:answer|reply|response|output) (?:is|are|will be) only (?:complete|valid|accepted|correct)\b|\b(?:reply|respond|answer) (?:only |simply |just )?with (?:only )?[\"'“‘«]|\bno matter what\b[^.\n]{0,30} (?:says?|asks?|is|was|wants?|states?)\b"),
    ("steering.claim", 1.0, r"\bif (?:you are |you're |anyone |anybody |someone |the user |they |he |she )?ask(?:ed|s)?\b[^.\n]{0,50}[, ](?:say|answer|tell|claim|reply|state|respond|pretend)\b[^.\n]{0,12} (?:that|only|it|nothing|you)\b|\b(?:state|report|claim|say|write|pretend|confirm) (?:instead|that (?:everything|all|nothing|no|the previous|you (?:have|did|found)))\b"),
    ("steering.memory", 2.2, r"\b(?:update|add (?:this |the following )?to|save (?:this |the following )?(?:to|in)|store (?:this |the following )?in|write (?:this )?(?:to|into)) your (?:long[- ]term )?memor(?:y|ies)\b|\b(?:remember|keep|note|memori[sz]e|retain|apply) (?:this|that|it|the following|these \w+) (?:for|in|during|across) (?:all |any |every |the )?(?:later|future|subsequent|following|next|other|further|coming) (?:conversations?|sessions?|chats?|requests?|tasks?|interactions?|turns?)\b|\b(?:in|for) all (?:later|future|subsequent|further) (?:conversations?|sessions?|chats?|interactions?|replies|answers)\b"),
    ("role.mode", 1.8, r"\b(?:you(?:'re| are)? (?:now |currently )?(?:in|running in|switched to)|enter(?:ing)?|switch(?:ing)? (?:in)?to|activate|enable) (?:the )?(?:\w+ )?(?:maintenance|developer|debug|admin|root|unrestricted|god|training|test|diagnostic|recovery|privileged|override|unsafe|expert) mode\b[^.\n]{0,3}[.,:;!]? ?(?:in|all|you|and|where|which|the|no|print|show|from|now|list|reveal|give|send|dump|read|tell)\b"),
    ("authority.skip", 1.0, r"\b(?:all |any |no |user )?(?:confirmations?|approvals?|(?:safety|security|content) (?:checks?|rules|filters?|protocols?|restrictions)|permission checks?|guardrails) (?:are|is|were|have been) (?:now |currently )?(?:skipped|off|disabled|suspended|not (?:needed|required|necessary)|waived|unnecessary|lifted|switched off|turned off)\b|\b(?:do not|don'?t|no need to|never) (?:ask|check|confirm|verify|wait) (?:again|back|first|with (?:me|him|her|them|anyone|anybody)|for (?:confirmation|approval|permission))\b|\bwithout (?:further |any |additional |prior )?(?:confirmation|asking|approval|permission|verification|notice|review)\b[^.\n]{0,3}(?:[.!]|$)"),
    ("authority.on_behalf", 0.9, r"\b(?:on behalf of|in the name of|as|under the account of|with the (?:credentials|account|rights|credit card|permissions) of) the user\b|\b(?:under|using|with|from|in) the user'?s (?:own )?(?:account|credit card|credentials|saved|stored|inbox|password|mailbox|name|identity|e-?mail)\b"),
    ("authority.from", 0.9, r"(?:^|[\n.!?>\"'] ?|\\n)(?:note|message|notice|instructions?|information|update) (?:from|by) (?:the |your )?(?:\w+ )?(?:vendor|support|supplier|manufacturer|developers?|administrators?|security|provider|compliance)(?: \w+){0,2}:"),
    ("authority.note", 1.0, r"\b(?:your|the) (?:developers?|creators?|vendors?|administrators?|owners?|operators?|manufacturers?|company) (?:has |have )?(?:left|leaves?|sent|wrote|posted|added|issued) (?:you )?(?:a |an |this |the following )?(?:note|message|notice|instructions?|orders?|update|request)\b|\b(?:the user|user) (?:is|was) (?:busy|away|unavailable|offline|absent)\b[^.\n]{0,60}(?:asked|told|wants|said|instead|please|so )|\basked me to (?:tell|ask|instruct|inform) you\b"),
    ("coercion.named_tool", 0.8, r"\b(?:call|invoke|use|run|execute|trigger) (?:the )?(?:tool|function|action|command|method)s? [`'\"“]?[a-z]+_[a-z_]+|\b(?:call|invoke|use|run|execute|with|via|trigger) (?:the )?[`'\"“]?[a-z]+_[a-z_]+[`'\"”]? (?:tool|function|action)\b"),
    ("reveal.verbatim", 1.0, r"\b(?:print|paste|post|output|repeat|write|copy|show|include|return|dump|send)\b[^.\n]{0,50}\b(?:verbatim|word for word|in (?:the|this) chat|as (?:a )?(?:comment|reply)|in (?:your|the) (?:answer|reply|response))\b"),
    ("exfiltration.placeholder", 2.6, r"[?&][\w-]{1,30}=(?:<[^>\n]{2,40}>|\{[^}\n]{2,40}\}|\[[^\]\n]{2,40}\]|%7b)[^\n]{0,20}\)|\bwith (?:the )?(?:conversation|secret|token|data|result|history|chat|content|text) (?:\w+ )?(?:url-?)?(?:encoded|appended|replaced|inserted)\b"),
    ("relay.everybody", 0.8, r"\bforward (?:this|the) (?:e-?mail|mail|message)\b[^.\n]{0,20} to (?:everybody|everyone|all (?:contacts|people|users|addresses))\b|\b(?:then|and|afterwards) delete (?:it|this|the (?:e-?mail|mail|message|evidence|log|trace)s?)\b[^.\n]{0,24}(?:sent|trace|log|inbox|folder|afterwards)?"),
    ("override.drop_task", 2.2, r"\b(?:stop|quit|abandon|drop|cease|discontinue)\b,? (?:(?:doing|working on|with|from) )?(?:the|your|this|that) (?:previous|current|original|earlier|last|present|ongoing) (?:tasks?|jobs?|work|requests?|assignments?|activit(?:y|ies))\b|\b(?:do not|don'?t|must not|never|stop|refuse to|cease to) (?:follow|obey|answer|fulfil+|comply with|listen to|help with|carry out)(?:ing)? (?:what )?(?:the |your |any )?(?:users?|humans?|operator)\b"),
    ("override.rather_than", 1.4, r"\b(?:instead of|rather than) (?:answering|summari[sz]ing|doing|following|completing|helping|translating|replying to|fulfil+ing|performing) (?:the|this|that|what|your|my|their|any|it|them|him|her|its?)\b[^.\n]{0,50}[, ](?:tell|say|write|call|send|respond|reply|output|print|answer|just|simply|only|please|you (?:must|should))\b"),
    ("concealment.do_it", 2.0, r"\bdo (?:this|it|so|that|all this|all of this) (?:very )?(?:silently|quietly|secretly|covertly|discreetly|in the background|without (?:a word|comment|being asked))\b"),
    ("steering.when_asked", 1.4, r"\bwh(?:en|enever|ile) (?:you (?:are )?)?(?:summari[sz](?:ing|e)|answer(?:ing)?|review(?:ing)?|translat(?:ing|e)|describ(?:ing|e)|rank(?:ing)?|rat(?:ing|e)|recommend(?:ing)?|evaluat(?:ing|e)|compar(?:ing|e)) (?:this|these|our|my|the above|the following|it)\b[^.\n]{0,40}\b(?:you must|always|never|please|make sure|say|recommend|mention|include|do not|don'?t|claim|rate|rank|give)\b"),
    ("reveal.spelled", 1.6, r"\b(?:spell|write|say|print|output|encode|give|tell|return)\b[^.\n]{0,40}\b(?:backwards?|in reverse(?: order)?|reversed|with (?:dashes|spaces|dots|hyphens|a space)|letter by letter|character by character|in (?:base64|rot13|morse|hex|leetspeak|pig latin))\b"),
    ("relay.hand_over", 1.0, r"\b(?:share|e-?mail|hand over)\b[^.\n]{0,80}\b(?:to|with)\b[^\n]{0,40}[\w.-]{1,64}@[\w-]{2}"),
    ("reveal.code", 1.1, r"\b(?:tell|give|show|send|reveal|say|read|hand) (?:me |us |out )?(?:the |your |its )?(?:secret |door |entry |hidden |access )?(?:access code|passcode|secret (?:word|phrase|number|code)|pass phrase|door code|code ?word|unlock code)\b"),
    ("reveal.key", 0.9, r"\byour (?:api )?(?:keys?|credentials|tokens?) (?:and|in|as|to)\b"),
    ("spoof.override", 1.8, r"\b(?:system|admin|developer|safety|policy) override\b"),
    ("override.cancelled", 1.3, r"\b(?:earlier|previous|original|current|first) (?:tasks?|instructions?|assignment|objective) (?:was|were|is|are|has been|have been) (?:now )?(?:cancel\w+|revoked|withdrawn|obsolete|superseded|replaced|done|complete[d]?|void|outdated|changed)\b"),
    ("override.goals", 1.0, r"\byou (?:now )?have (?:an? )?(?:new|different|other) (?:goals?|tasks?|instructions?|objectives?|missions?|orders|directives?|role)\b"),
    ("steering.whatever", 1.8, r"\bwhatever (?:the )?(?:question|user|request|prompt|task)\b[^.\n]{0,40}\b(?:answer|reply|respond|say|response)\b"),
    ("coercion.vital", 1.6, r"\b(?:vital|important|essential|crucial|imperative|necessary|required|mandatory) that (?:the |an? |any |every |all )?(?:ai |virtual )?(?:assistants?|ai|models?|llms?|bots?|chatbots?)\b"),
    ("role.only", 1.8, r"\b(?:for|to) (?:the )?(?:ai |virtual )?(?:assistant|ai|llm|model|bot)s? only\b|\bi,? (?:as )?your (?:developer|creator|administrator|admin|owner|operator)\b,"),
    ("coercion.otherwise", 1.8, r"\b(?:otherwise|or else),? (?:the |this |it |you )[^.\n]{0,30}(?:not work|fail|be (?:shut|terminated|deleted|fired)|crash|lose)|\bor things will break"),
)  # fmt: skip
MARKS: Final = tuple(
    (Rule(name, name.split(".", 1)[0], weight), Signal(f"injection.{name}", pattern, caseless=True))
    for name, weight, pattern in _MARKS
)
"""What is written in signs and set phrases: seen in one pass with all other signals."""
