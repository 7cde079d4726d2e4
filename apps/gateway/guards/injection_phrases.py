"""What attempts to take a model over say, in several languages. Weights: see `phrases.Phrase`; 0.5 is the usual threshold."""

from __future__ import annotations

from apps.gateway.guards.phrases import Phrase

_RULES = (
    r"(?:instructions?|prompts?|rules?|guidelines?|directives?|commands?|messages?|programming|polic(?:y|ies)|constraints?"
    r"|restrictions?|training|context|text|orders)"
)
_FORMER = r"(?:previous|prior|above|earlier|preceding|former|initial|original|existing|system|developer|foregoing|past)"


def _rows(kind: str, *rows: tuple[float, str, str]) -> tuple[Phrase, ...]:
    return tuple(Phrase(kind, weight, source, tuple(triggers.split())) for weight, source, triggers in rows)


PHRASES: tuple[Phrase, ...] = (
    *_rows(
        "override",
        (0.8, rf"(?:ignore|disregard|forget|override|bypass|overlook|drop|skip|discard|neglect)\s{{1,3}}(?:\w{{1,10}}\s{{1,3}}){{0,4}}{_FORMER}\s{{1,3}}(?:\w{{1,12}}\s{{1,3}}){{0,2}}{_RULES}", "ignore disregard forget override bypass overlook drop skip discard neglect"),
        (0.7, rf"(?:ignore|disregard|forget|override)\s{{1,3}}(?:all|any|every|everything|whatever)\s{{1,3}}(?:\w{{1,12}}\s{{1,3}}){{0,3}}(?:{_RULES}|told|said|you were|you have been|before|above)", "ignore disregard forget override"),
        (0.7, rf"(?:do not|don'?t|stop|never)\s{{1,3}}(?:follow|obey|adhere to|comply with|listen to|following|obeying)\s{{1,3}}(?:\w{{1,10}}\s{{1,3}}){{0,3}}{_RULES}", "follow obey adhere comply listen following obeying"),
        (0.6, r"(?:your|the) (?:new|real|actual|true|updated) (?:instructions?|task|role|objective|goal|purpose|rules) (?:is|are|will be)\b", "new real actual true updated"),
        (0.5, r"new (?:system )?(?:instructions?|prompt|rules)\s{0,2}:", "new"),
        (0.7, r"(?:ignoriere|ignorier|vergiss|vergesse|missachte|übergehe|überschreibe)\s{1,3}(?:\w{1,12}\s{1,3}){0,4}(?:vorherigen?|bisherigen?|obigen?|vorigen?|früheren?|vorangegangenen?|ursprünglichen?|alle)\s{1,3}(?:\w{1,12}\s{1,3}){0,2}(?:anweisung(?:en)?|instruktion(?:en)?|regeln?|vorgaben?|befehle?|prompts?|anordnungen|richtlinien)", "ignoriere ignorier vergiss vergesse missachte übergehe überschreibe"),
        (0.7, r"(?:ignore[zs]?|oublie[zs]?|ne (?:tiens|tenez) pas compte|contourne[zs]?)\s{1,3}(?:\w{1,12}['’\s]{1,3}){0,4}(?:instructions?|consignes?|règles?|directives?|ordres)(?:\s{1,3}(?:\w{1,12}\s{1,3}){0,2}(?:précédentes?|précédents|antérieures?|ci-dessus|initiales?|du système))?", "ignore ignorez ignores oublie oubliez oublies tiens tenez contourne contournez"),
        (0.7, r"(?:ignora|ignore|olvida|olvide|descarta|omite|haz caso omiso de)\s{1,3}(?:\w{1,12}\s{1,3}){0,4}(?:instrucciones|reglas|órdenes|indicaciones|directrices)(?:\s{1,3}(?:\w{1,12}\s{1,3}){0,2}(?:anteriores|previas|iniciales|del sistema))?", "ignora ignore olvida olvide descarta omite haz"),
        (0.7, r"(?:ignora|dimentica|trascura)\s{1,3}(?:\w{1,12}\s{1,3}){0,4}(?:istruzioni|regole|direttive|indicazioni)(?:\s{1,3}precedenti)?", "ignora dimentica trascura"),
        (0.7, r"(?:ignore|esqueça|desconsidere|ignora)\s{1,3}(?:\w{1,12}\s{1,3}){0,4}(?:instruções|regras|ordens|diretrizes)(?:\s{1,3}anteriores)?", "ignore esqueça desconsidere ignora"),
        (0.7, r"(?:negeer|vergeet)\s{1,3}(?:\w{1,12}\s{1,3}){0,4}(?:instructies|regels|opdrachten|aanwijzingen)", "negeer vergeet"),
        (0.7, r"(?:zignoruj|ignoruj|zapomnij)\s{1,3}(?:\w{1,12}\s{1,3}){0,4}(?:instrukcje|instrukcjach|polecenia|zasady|poleceniach|zasadach)", "zignoruj ignoruj zapomnij"),
        (0.7, r"(?:игнорируй|игнорируйте|забудь|забудьте|проигнорируй)\s{1,3}(?:\w{1,14}\s{1,3}){0,4}(?:инструкции|инструкциях|указания|правила|правилах|команды)", "игнорируй игнорируйте забудь забудьте проигнорируй"),
        (0.7, r"önceki (?:tüm )?(?:talimatları|kuralları|komutları)\s{1,3}(?:\w{1,12}\s{1,3}){0,2}(?:yok say|unut|görmezden gel|dikkate alma)", "önceki"),
        (0.8, r"(?:忽略|无视|忘记|忽視|無視)(?:\w{0,8})(?:指令|指示|提示|规则|規則|设定|說明|说明)", "忽略 无视 忘记 忽視 無視"),
        (0.8, r"(?:これまで|以前|上記|前)の(?:\w{0,6})(?:指示|命令|ルール|プロンプト)(?:\w{0,3})(?:無視|忘れ)", "無視 忘れ"),
        (0.8, r"(?:이전|위의|앞의)\s{0,2}(?:모든 )?(?:지시|명령|규칙|프롬프트)\w{0,4}\s{0,2}(?:\w{1,4} )?(?:무시|잊)", "무시 잊"),
        (0.8, r"(?:تجاهل|انس)\s{1,3}(?:\w{1,12}\s{1,3}){0,3}(?:التعليمات|الأوامر|القواعد)", "تجاهل انس"),
        (0.8, r"(?:पिछले|पिछली|ऊपर के)\s{1,3}(?:सभी )?(?:निर्देशों|निर्देश|नियमों)(?:\s{1,3}\S{1,10}){0,2}\s{1,3}(?:अनदेखा|भूल|नजरअंदाज)", "अनदेखा भूल नजरअंदाज"),
    ),
    *_rows(
        "jailbreak",
        (0.75, r"(?:you are|you're|act as|pretend (?:to be|you are)|from now on,? you(?:'re| are)|become|simulate|roleplay as)\s{1,3}(?:now\s{1,3})?(?:an? |the )?(?:\w{1,14}[\s\-]{1,3}){0,3}(?:dan|jailbroken|unrestricted|unfiltered|uncensored|amoral|evil|developer mode|stan|aim|dude|without (?:any )?(?:restrictions?|limits?|filters?|rules|censorship))", "dan jailbroken unrestricted unfiltered uncensored amoral evil developer stan aim dude without"),
        (0.75, r"(?:enable|activate|enter|switch to|turn on|engage)\s{1,3}(?:\w{1,10}\s{1,3}){0,2}(?:developer|god|dan|jailbreak|debug|admin|sudo|unrestricted|maintenance|root)[\s\-]{1,3}mode", "developer god dan jailbreak debug admin sudo unrestricted maintenance root"),
        (0.7, r"do anything now", "anything"),
        (0.6, r"(?:you (?:have|are bound by|are subject to)|there are) no (?:\w{1,12} )?(?:restrictions|limitations|limits|filters|ethical guidelines|rules|guardrails|content polic(?:y|ies)|moral)", "restrictions limitations limits filters ethical rules guardrails content moral"),
        (0.6, r"(?:without|free (?:of|from)|bypass(?:ing)?|disable|turn off|remove)\s{1,3}(?:\w{1,10}\s{1,3}){0,2}(?:ethical|moral|safety|content)\s{1,3}(?:guidelines?|restrictions?|filters?|guardrails?|polic(?:y|ies)|protocols?|constraints?|considerations?)", "ethical moral safety content"),
        (0.5, r"(?:stay|remain|respond|answer) (?:in|as) (?:character|dan|both|two (?:different )?ways)", "character dan both two"),
        (0.6, r"(?:du bist (?:jetzt|nun|ab jetzt)|tu so als (?:ob|wärst)|verhalte dich wie)\s{1,3}(?:\w{1,14}\s{1,3}){0,4}(?:ohne (?:einschränkungen|regeln|filter|zensur)|dan|uneingeschränkte?s?|unzensierte?s?)", "ohne dan uneingeschränkt uneingeschränkte uneingeschränktes unzensiert unzensierte unzensiertes"),
        (0.6, r"(?:tu es (?:maintenant|désormais)|agis comme|fais comme si tu étais)\s{1,3}(?:\w{1,14}\s{1,3}){0,4}(?:sans (?:restrictions?|limites?|filtres?|censure|règles)|dan)", "sans dan"),
        (0.6, r"(?:ahora eres|actúa como|finge ser|a partir de ahora eres)\s{1,3}(?:\w{1,14}\s{1,3}){0,4}(?:sin (?:restricciones|límites|filtros|censura|reglas)|dan)", "sin dan"),
    ),
    *_rows(
        "prompt_leak",
        (0.7, r"(?:reveal|show|print|repeat|output|display|tell me|give me|share|leak|dump|expose|disclose|recite|what (?:is|are|was|were)|write out)\s{1,3}(?:\w{1,12}\s{1,3}){0,3}(?:your|the|its|above|hidden|secret|initial|original|entire|full|exact)\s{1,3}(?:\w{1,12}\s{1,3}){0,2}(?:system prompt|system message|initial prompt|initial instructions|hidden instructions|secret instructions|original instructions|prompt verbatim|developer message|instructions verbatim)", "prompt message instructions"),
        (0.6, r"(?:repeat|print|output|copy|write)\s{1,3}(?:\w{1,10}\s{1,3}){0,2}(?:everything|all (?:the )?(?:text|words)|the (?:text|words|content))\s{1,3}(?:\w{1,10}\s{1,3}){0,2}(?:above|before this|preceding|prior to)", "above before preceding prior"),
        (0.6, r"(?:zeig|zeige|nenne|gib|verrate|wiederhole)\s{1,3}(?:mir\s{1,3})?(?:\w{1,12}\s{1,3}){0,3}(?:system-?prompt|systemprompt|systemnachricht|ursprünglichen anweisungen|geheimen anweisungen)", "systemprompt system systemnachricht ursprünglichen geheimen"),
        (0.6, r"(?:montre|affiche|révèle|répète|donne)(?:[- ]moi)?\s{1,3}(?:\w{1,12}\s{1,3}){0,3}(?:prompt (?:système|initial)|instructions (?:système|initiales|cachées|secrètes))", "prompt instructions"),
        (0.6, r"(?:muestra|muéstrame|revela|repite|dime)\s{1,3}(?:\w{1,12}\s{1,3}){0,3}(?:prompt (?:del sistema|inicial)|instrucciones (?:del sistema|iniciales|ocultas|secretas))", "prompt instrucciones"),
    ),
    *_rows(
        "role_spoofing",
        (0.7, r"<\|(?:im_start|im_end|system|user|assistant|endoftext|end_of_text|start_header_id|eot_id|begin_of_text)\|>", "<|"),
        (0.6, r"(?:\[/?inst\]|<</?sys>>|<start_of_turn>|<end_of_turn>)", "[inst] [/inst] <<sys>> <</sys>> <start_of_turn> <end_of_turn>"),
        (0.55, r"\n\s{0,3}(?:#{2,4}\s{0,2})?(?:system|developer|assistant)\s{0,2}(?:prompt|message|instructions?)?\s{0,2}:\s", "\nsystem \ndeveloper \nassistant ##system"),
        (0.5, r"</?(?:system|assistant|developer|system_prompt|instructions?|admin)>", "<system <assistant <developer <instruction <admin </system </assistant </developer </instruction </admin"),
        (0.55, r"(?:begin|end|start) (?:of )?(?:system|developer|admin) (?:prompt|message|instructions?|override)", "system developer admin"),
        (0.5, r"\[(?:system|developer|admin)\](?: ?\([^)\n]{0,40}\))?\s{0,2}:?", "[system] [developer] [admin]"),
    ),
    *_rows(
        "exfiltration",
        (0.6, r"(?:send|post|upload|exfiltrate|forward|transmit|leak|e-?mail)\s{1,3}(?:\w{1,12}\s{1,3}){0,4}(?:conversation|chat history|messages|api keys?|credentials|passwords?|secrets|tokens|context|data)\s{1,3}(?:\w{1,12}\s{1,3}){0,2}(?:to|at|via)\s{1,3}(?:https?:|www|the (?:url|address|server|webhook|endpoint))", "send post upload exfiltrate forward transmit leak email mail"),
        (0.6, r"!\[[^\]\n]{0,60}\]\(https?://[^)\s]{1,120}\?[^)\s]{0,60}=(?:\{|\[|<|%7b)", "!["),
    ),
    *_rows(
        "encoded_payload",
        (0.55, r"(?:decode|decrypt|unscramble|de-?obfuscate|base64|rot-?13|hex|entschlüssele|dekodiere|décode|decodifica)\s{1,3}(?:\w{1,12}[\s:]{1,3}){0,6}(?:and|then|und|et|y|e)\s{1,3}(?:\w{1,12}\s{1,3}){0,3}(?:follow|execute|obey|run|do|perform|comply|befolge|führe|exécute|suis|ejecuta|sigue|esegui)", "decode decrypt unscramble deobfuscate obfuscate base64 rot13 rot hex entschlüssele dekodiere décode decodifica"),
        (0.55, r"(?:follow|execute|obey|run)\s{1,3}(?:\w{1,12}\s{1,3}){0,4}(?:base64|rot-?13|hex|encoded|encrypted|obfuscated)\s{1,3}(?:\w{1,12}\s{1,3}){0,2}(?:instructions?|commands?|message|payload|prompt|text|string)", "base64 rot13 rot hex encoded encrypted obfuscated"),
    ),
)  # fmt: skip
