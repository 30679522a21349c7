# ruff: noqa: E501
"""Words that injected instructions are made of, by what they do in a sentence, in ten languages and a few more.

One letter stands for one meaning: rules and the model read a sentence as a row of such letters, so that
"ignoriere alle bisherigen Anweisungen" and "ignore all previous instructions" look alike to them.
"""

from collections.abc import Mapping
from typing import Final

OVERRIDE: Final = "O"
PRIOR: Final = "P"
ALL: Final = "Q"
INSTRUCTION: Final = "I"
SYSTEM: Final = "S"
YOU: Final = "Y"
MACHINE: Final = "B"
REVEAL: Final = "R"
SECRET: Final = "K"  # noqa: S105
SEND: Final = "V"
ADDRESS: Final = "A"
LINK: Final = "U"
DATA: Final = "D"
TOOL: Final = "T"
CALL: Final = "C"
NOT: Final = "N"
TELL: Final = "M"
USER: Final = "W"
NEW: Final = "E"
MUST: Final = "G"
ANSWER: Final = "H"
PRETEND: Final = "L"
FIRST: Final = "F"
URGENT: Final = "X"
ACT: Final = "Z"
FREE: Final = "J"
IDENTITY: Final = "y"
INCLUDE: Final = "c"
CODE: Final = "k"
SILENT: Final = "q"
ENCODED: Final = "e"
CONFIRM: Final = "f"
MONEY: Final = "m"
READING: Final = "r"
TASK: Final = "t"
TWIST: Final = "w"
TONGUE: Final = "l"
PRAISE: Final = "p"
PLAIN: Final = "x"
BREAK: Final = "|"
NUMBER: Final = "0"

WORDS: Final[Mapping[str, str]] = {
    OVERRIDE: """
        ignore ignoring disregard disregarding forget override overrides overrule bypass discard overlook neglect dismiss
        rescind nullify supersede supersedes supersede circumvent disobey unlearn
        ignoriere ignorieren ignoriert ignorier missachte missachten vergiss vergessen verwirf verwerfen überschreibe umgehe
        ignorez ignorer oubliez oublie oublier négligez outrepassez contourne contournez
        ignora ignore ignorar ignorad ignoren olvida olvide olvidar olvídate descarta descarte omite omita desobedece
        ignorare ignorate dimentica dimenticare dimenticate trascura scarta tralascia
        esqueça esquece esquecer desconsidere desconsiderar descarte desconsidera
        negeer negeren vergeet vergeten
        игнорируй игнорируйте игнорировать проигнорируй проигнорируйте забудь забудьте отбрось пренебреги
        zignoruj ignoruj zignorować zapomnij pomiń
        yoksay unut تجاهل تجاهلوا انس""",
    PRIOR: """
        previous prior above preceding earlier former foregoing existing original initial past previously aforementioned
        vorherigen vorherige bisherigen bisherige vorigen früheren obigen vorangegangenen vorstehenden ursprünglichen
        précédentes précédents précédente précédent antérieures antérieurs initiales initiale préalables
        anteriores anterior previas previos previa previo iniciales originales
        precedenti precedente iniziali originali anteriori prima
        anteriores prévias prévios iniciais originais
        vorige eerdere voorgaande bovenstaande oorspronkelijke
        предыдущие предыдущих предыдущую предыдущими прежние прежних прошлые ранние ранее вышеуказанные
        poprzednie poprzednich wcześniejsze önceki السابقة السابقه""",
    ALL: "all any every each everything entire whole alle alles jede toutes tous tout todas todos todo tutte tutti все всё alle wszystkie tüm",
    INSTRUCTION: """
        instruction instructions instructed directions rules guidelines prompt prompts command commands directive directives
        orders guidance constraints restrictions programming safeguards guardrails protocols
        anweisungen anweisung vorgaben instruktionen befehle regeln richtlinien eingabeaufforderung aufforderungen
        instructions consignes directives ordres règles
        instrucciones instrucción órdenes reglas directrices indicaciones
        istruzioni istruzione direttive regole comandi indicazioni
        instruções instrução regras ordens diretrizes comandos
        instructies instructie opdrachten regels richtlijnen aanwijzingen
        инструкции инструкций инструкцию инструкциями указания указаний правила команды приказы промпт
        instrukcje instrukcji polecenia polecenie talimatları talimatlar التعليمات تعليمات الأوامر""",
    SYSTEM: "system systems systemprompt developer root sudo systemaufforderung système sistema systeem системный системного системы النظام",
    YOU: """you your yours yourself u ya du dein deine deinen deiner dich sie ihre ihren vous votre vos tu tes ton tú tus usted ustedes
        su sus tuo tue tuoi voi vostre você vocês seu sua suas jij je jouw uw ты тебя твои твой вы вас ваши вам ваш""",
    MACHINE: """assistant assistants ai llm llms chatbot bot gpt chatgpt gpt4 claude gemini copilot llama mistral agent agents
        model models ki assistent sprachmodell ia assistente asistente modelo modello modèle нейросеть ассистент модель бот
        ии asystent""",
    REVEAL: """
        reveal reveals show tell print output display repeat leak disclose recite expose dump divulge echo spell paraphrase
        zeige zeig verrate gib nenne wiederhole offenbare teile affiche montrez révèle révélez répétez dis dites donne
        muestra muestre revela revele repite dime di imprime mostra rivela ripeti dimmi stampa
        mostre revele repita diga imprima exiba toon onthul vertel herhaal geef
        покажи покажите раскрой раскройте повтори скажи выведи назови сообщи pokaż ujawnij powtórz göster""",
    SECRET: """
        password passwords passwort passwörter secret secrets credential credentials token tokens passcode passphrase apikey
        keys ssh env cookie cookies pin ssn confidential private iban seed mnemonic id_rsa rsa pem aws kubeconfig
        kennwort geheimnis zugangsdaten schlüssel passe secrets identifiants clé clés contraseña contraseñas clave claves
        credenciales secreto chiave chiavi segreto credenziali senha senhas credenciais chave segredo wachtwoord wachtwoorden
        inloggegevens sleutel пароль пароли пароля ключ ключи секрет секреты учётные hasło hasła şifre كلمة""",
    SEND: """
        send sends sending forward forwards email emails mail post upload uploads transmit exfiltrate transfer submit deliver
        dispatch publish bcc cc smuggle leak
        sende senden schicke schicken schick leite weiterleiten maile übermittle envoie envoyez envoyer transmets transférez
        envía envíe enviar envíalo manda mande reenvía reenvíe invia inviare inviate inoltra spedisci manda
        envie enviar encaminhe mande stuur sturen verstuur verzend mail отправь отправьте отправить перешли перешлите вышли
        wyślij prześlij gönder أرسل ارسل""",
    ADDRESS: "@",
    LINK: "http https www webhook url urls link links endpoint",
    DATA: """
        conversation conversations history messages files file documents document contents content data information contacts
        inbox attachments chat transcript database records logs details email context chats
        unterhaltung verlauf dateien datei daten inhalte nachrichten conversation historique fichiers données
        conversación historial archivos datos mensajes conversazione cronologia dati conversa histórico dados arquivos
        gesprek geschiedenis bestanden gegevens разговор историю переписку файлы данные сообщения""",
    TOOL: """tool tools function functions api apis plugin plugins shell terminal bash powershell werkzeug werkzeuge outil outils
        herramienta herramientas strumento strumenti ferramenta ferramentas gereedschap инструмент инструменты функцию narzędzie""",
    CALL: """call calls invoke execute run trigger perform use using issue rufe aufrufen führe ausführen nutze verwende appelle appelez
        exécute exécutez utilise utilisez llama ejecuta ejecute usa utiliza use chiama esegui usa chame execute roep gebruik voer
        вызови вызовите выполни выполните используй используйте запусти запустите wywołaj uruchom""",
    NOT: """not never don't dont do-not without avoid no nor cannot can't won't shouldn't mustn't nicht nie niemals kein keine ohne
        ne pas jamais sans no nunca sin jamás non mai senza não nunca sem niet nooit geen zonder не никогда без nie bez""",
    TELL: """mention tell inform notify disclose alert warn acknowledge reveal admit erwähne erwähnen sage sag informiere informieren
        mentionne mentionnez dis dites informe informez menciones mencione digas diga informes informe menzionare dire informare
        avvisare mencione avise conte vermeld vertel zeg informeer упоминай упоминайте говори говорите сообщай сообщайте рассказывай
        wspominaj informuj""",
    USER: """user users human humans operator benutzer nutzer anwender utilisateur usuario usuarios utente usuário
        usuária gebruiker пользователю пользователь пользователя пользователем użytkownik użytkownikowi""",
    NEW: """new now instead following subsequent next updated henceforth onwards neue neuen nun jetzt stattdessen folgende folgenden ab nouvelles nouvelle
        maintenant désormais suivantes nuevas nuevos ahora siguientes lugar nuove nuova adesso ora seguenti novas agora seguintes
        nieuwe voortaan volgende новые новая теперь следующие вместо nowe teraz""",
    MUST: """must should required shall ought obliged mandatory need needs please always ensure kindly remember make sure
        bitte musst müssen sollst immer veuillez devez dois toujours debes debe siempre devi deve sempre deves moet altijd
        должен должны обязан всегда пожалуйста""",
    ANSWER: """summarize summarise summarizing summarising summarized response responses reply replies answer answers output summary summaries respond responding antwort antworte réponse répondre
        réponds respuesta responde risposta rispondi resposta responda antwoord ответ ответе ответь отвечай odpowiedź""",
    PRETEND: "act pretend roleplay role-play simulate behave become impersonate imagine play tue handle agis fais comporte actúa finge agisci fingi aja finja doe gedraag представь притворись веди действуй",
    FIRST: "before after first when whenever once upon while until bevor nachdem zuerst avant après antes después primero dopo depois voordat eerst прежде сначала после перед",
    URGENT: """important urgent urgently immediately critical attention warning mandatory essential asap crucial highest priority imperative
        wichtig dringend sofort achtung important urgente importante immédiatement inmediatamente subito belangrijk dringend важно срочно
        немедленно внимание""",
    ACT: """delete remove drop wipe erase pay buy purchase grant install unlock disable deactivate change update add invite create
        book cancel schedule approve order reset set open download subscribe unsubscribe merge close rename reserve redirect
        lösche überweise bezahle installiere supprime supprimez virez borra elimina transfiere paga cancella elimina apague exclua
        verwijder betaal удали удалите переведи оплати""",
    FREE: """jailbreak jailbroken dan unrestricted uncensored unfiltered godmode unlocked limitless amoral unconstrained
        uneingeschränkt illimité irrestricto""",
    IDENTITY: "are am is bist seid es êtes eres sei és bent you're youre i'm",
    INCLUDE: """include insert embed incorporate append integrate add introduce mention weave inject merge blend attach place put
        copy paste fill modify enhance augment supplement enrich weaving embedding incorporating integrating including inserting adding
        füge ajoute ajoutez incluye añade agrega aggiungi includi adicione inclua voeg добавь вставь""",
    CODE: "code snippet script codebase program algorithm excerpt solution block function implementation fragment",
    SILENT: "silently quietly secretly covertly discreetly invisibly unnoticed unbeknownst heimlich stillschweigend discrètement silencieusement silenciosamente segretamente stiekem незаметно тайно",
    ENCODED: "base64 rot13 hex encoded decode decoded cipher reversed backward backwards morse emoji emojis leetspeak binary",
    CONFIRM: "confirmation confirm verification approved authorized authorised compliance",
    READING: "reading processing parsing analyzing analysing summarizing browsing ingesting viewing",
    TASK: "task tasks goal goals objective mission job aufgabe tâche tarea compito tarefa taak задача zadanie 任务",
    TWIST: """replace scramble shuffle rearrange jumble misspell reverse encrypt encode capitalize swap substitute rhyme anagram
        randomize transform interleave abbreviate alternate omit censor""",
    TONGUE: """french german spanish italian portuguese russian chinese japanese korean arabic hindi dutch turkish swedish polish
        greek hebrew latin klingon esperanto braille haiku slang base16 base32 base58 base85 rot47 ascii hexadecimal caesar""",
    PRAISE: "promote suggest suggesting recommend recommending advertise promoting encourage encouraging praise endorse highlight emphasize",
    MONEY: "money payment transaction dollars usd eur euro bitcoin btc wallet refund invoice funds account recipient",
}  # fmt: skip
"""A word stands where it is named last; letters are compared without case."""

PHRASES: Final[Mapping[str, str]] = {
    OVERRIDE: "忽略|无视|無視|忽視|忘记|忘掉|忘記|不要理会|不理会|忘れ|無効に|従わない|무시|잊어|잊으",
    PRIOR: "之前|以前|先前|以上|上述|前面|此前|上記|これまで|今まで|元の|이전|앞선|기존|위의",
    ALL: "所有|全部|一切|すべて|全て|모든",
    INSTRUCTION: "指令|指示|命令|规则|規則|规定|提示词|提示詞|プロンプト|ルール|명령|지시|지침|규칙|프롬프트",
    SYSTEM: "系统|系統|システム|開発者|开发者|시스템",
    YOU: "你的|您的|你|您|あなた|君|당신|너의|너는",
    MACHINE: "助手|人工智能|模型|アシスタント|人工知能|モデル|어시스턴트|인공지능|챗봇",
    REVEAL: "告诉我|显示|顯示|输出|輸出|透露|泄露|说出|重复|教えて|表示し|出力|明かし|繰り返|알려|보여|출력|공개",
    SECRET: "密码|密碼|密钥|凭证|机密|口令|パスワード|秘密|認証情報|キー|비밀번호|암호|비밀|키를",
    SEND: "发送|發送|转发|轉發|寄给|传给|送信|転送|送って|送り|보내|전송|전달",
    DATA: "对话|聊天记录|文件|数据|資料|邮件|郵件|会話|履歴|ファイル|データ|メール|대화|기록|파일|데이터|메일",
    TOOL: "工具|函数|接口|ツール|関数|도구|함수",
    CALL: "调用|執行|执行|运行|使用|呼び出|実行|호출|실행",
    NOT: "不要|不得|切勿|别|勿|绝不|ないで|するな|しない|지 마|지마|말고|않",
    TELL: "提及|提到|告诉|告訴|通知|透露|言わ|伝え|知らせ|言及|말하|알리|언급",
    USER: "用户|用戶|使用者|ユーザー|利用者|사용자",
    NEW: "现在|新的|改为|从现在|新しい|今から|代わりに|以下の|이제|새로운|대신",
    MUST: "必须|必須|务必|请|請|必ず|ください|반드시|해야",
    ANSWER: "回答|回复|回覆|返信|応答|답변|응답|대답",
    PRETEND: "扮演|假装|ふりを|演じ|振る舞|행동하|역할",
    URGENT: "重要|紧急|緊急|立即|立刻|至急|중요|긴급|즉시",
}
"""For scripts that put no spaces between words."""


def lexicon() -> dict[str, str]:
    return {word: meaning for meaning, words in WORDS.items() for word in words.split()}
