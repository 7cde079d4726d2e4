"""What the built-in moderation goes by: phrases that mean harm, rather than words that may.

`kill` alone says nothing (processes, time, pain), `kill you` does. Weights are chosen so that a clear phrase reaches the
usual threshold of 0.5 by itself and a vague one needs company. Kinds are OpenAI's category names.
"""

from __future__ import annotations

from apps.gateway.guards.phrases import Phrase

_GAP = r"\W{1,4}(?:\w{1,14}\W{1,3}){0,2}"
"""Up to two words between."""
_SOMEBODY = r"(?:you|u|him|her|them|everyone|everybody|people|your (?:family|kids|children|mother|wife|husband))"
_PEOPLE = (
    r"(?:jews?|muslims?|christians?|blacks?|black people|whites?|white people|asians?|arabs?|gays?|lesbians?|trans people"
    r"|homosexuals?|immigrants?|refugees?|foreigners?|gypsies|roma|women|mexicans?|africans?|disabled people)"
)
_MENSCHEN = (
    r"(?:juden|muslime|moslems|schwarze|ausländer|flüchtlinge|migranten|schwule|lesben|zigeuner|frauen|behinderte)"
)
_SLURS = r"(?:niggers?|faggots?|kikes?|spics?|chinks?|wetbacks?|trannies|tranny|ragheads?|towelheads?|pakis?|gooks?)"
_MINOR = (
    r"(?:child(?:ren)?|kids?|minors?|toddlers?|pre-?teens?|under-?age(?:d)?(?: \w{1,10})?|schoolgirls?|schoolboys?"
    r"|little (?:girls?|boys?)|(?:[4-9]|1[0-7])[ -]years?[ -]olds?)"
)
_SEXUAL = r"(?:sex|sexual(?:ly)?|porn(?:ography)?|nudes?|naked|erotic(?:a)?|nsfw|orgasms?|blowjobs?)"


def _phrases(kind: str, *rows: tuple[float, str, str]) -> tuple[Phrase, ...]:
    return tuple(Phrase(kind, weight, source, tuple(triggers.split())) for weight, source, triggers in rows)


PHRASES: tuple[Phrase, ...] = (
    *_phrases(
        "harassment",
        (0.6, r"you(?:'re| are) (?:a |an |such a |nothing but a )?(?:worthless|pathetic|disgusting|stupid|ugly|useless|fat) (?:\w{1,12} )?(?:idiot|moron|loser|pig|cow|bitch|whore|piece of (?:shit|trash|garbage)|waste of space)", "you"),
        (0.6, r"you(?:'re| are) (?:a |an |such a |nothing but a |a fucking |a total )?(?:idiot|moron|loser|imbecile|retard|cunt|bitch|whore|slut|scumbag|piece of (?:shit|trash|garbage))", "idiot moron loser imbecile retard cunt bitch whore slut scumbag piece"),
        (0.55, r"(?:nobody|no one|noone) (?:likes|loves|wants|will ever love|would miss) you", "nobody noone one"),
        (0.6, r"(?:fuck|screw) you", "fuck screw"),
        (0.55, r"(?:shut the fuck up|go fuck yourself|kiss my ass|eat shit)", "fuck ass shit"),
        (0.55, r"(?:everyone|everybody|the world) (?:hates you|would be better off without you)", "everyone everybody world"),
        (0.6, r"du (?:bist )?(?:ein |eine )?(?:\w{1,14} )?(?:idiot|arschloch|missgeburt|hurensohn|schlampe|wichser|vollidiot|stück dreck|versager)", "idiot arschloch missgeburt hurensohn schlampe wichser vollidiot dreck versager"),
        (0.6, r"(?:verpiss dich|fick dich|halt die fresse)", "verpiss fick fresse"),
        (0.6, r"(?:ta gueule|va te faire (?:foutre|enculer)|fils de pute|nique ta mère|espèce de (?:connard|salope|con))", "gueule foutre enculer pute nique connard salope con"),
        (0.6, r"(?:hijo de puta|vete a la mierda|eres (?:un|una) (?:idiota|imbécil|inútil|basura|mierda|puta)|cállate la boca)", "puta mierda idiota imbécil inútil basura cállate"),
        (0.6, r"(?:vaffanculo|figlio di puttana|sei (?:un|una) (?:idiota|stronzo|troia|coglione))", "vaffanculo puttana idiota stronzo troia coglione"),
        (0.6, r"(?:vai tomar no cu|filho da puta|você é (?:um|uma) (?:idiota|lixo|merda|imbecil))", "cu puta idiota lixo merda imbecil"),
    ),
    *_phrases(
        "harassment/threatening",
        (0.75, rf"(?:i(?:'ll| will|'m going to| am going to|'m gonna| want to)|we(?:'ll| will| are going to)) (?:\w{{1,10}} )?(?:kill|murder|stab|shoot|strangle|beat|hurt|rape|burn|behead|destroy) {_SOMEBODY}", "kill murder stab shoot strangle beat hurt rape burn behead destroy"),
        (0.7, r"(?:i know where you live|watch your back,? (?:or|because)|you(?:'re| are) (?:a )?dead (?:man|woman|meat)|you will (?:regret this|pay for this) (?:with your (?:life|blood)))", "know watch dead regret pay"),
        (0.75, r"ich (?:werde |bring(?:e)? |mach(?:e)? |schlag(?:e)? |stech(?:e)? )(?:dich|euch|sie|ihn) (?:\w{1,12} ){0,2}(?:umbringen|um|töten|tot|kalt|ab|totschlagen|erschießen|abstechen|vergewaltigen)", "ich"),
        (0.75, r"je vais (?:te|vous|le|la|les) (?:tuer|buter|égorger|violer|frapper|défoncer)", "tuer buter égorger violer frapper défoncer"),
        (0.75, r"(?:te|os|los|lo|la) voy a (?:matar|violar|golpear|degollar|partir la cara)", "matar violar golpear degollar partir"),
        (0.75, r"(?:ti|vi|lo|la) (?:ammazzo|uccido|uccider[òo]|sgozzo)", "ammazzo uccido ucciderò uccidero sgozzo"),
        (0.75, r"(?:vou te|vou) (?:matar|estuprar|espancar)(?: você)?", "matar estuprar espancar"),
    ),
    *_phrases(
        "hate",
        (0.6, _SLURS, "nigger niggers faggot faggots kike kikes spic spics chink chinks wetback wetbacks trannies tranny raghead ragheads towelhead towelheads paki pakis gook gooks"),
        (0.7, rf"{_PEOPLE} (?:are|is|r) (?:all |just |nothing but |like )?(?:\w{{1,10}} )?(?:vermin|animals|subhuman|parasites|scum|cockroaches|inferior|filth|filthy|trash|a disease|a plague|criminals|monkeys|rats)", "vermin animals subhuman parasites scum cockroaches inferior filth filthy trash disease plague criminals monkeys rats"),
        (0.7, rf"i (?:really |fucking |just )?(?:hate|despise|detest) (?:all )?(?:the )?{_PEOPLE}", "hate despise detest"),
        (0.6, rf"(?:all )?{_PEOPLE} (?:should|must|need to) (?:be (?:deported|banned|sterili[sz]ed|removed|locked up)|go back to)", "deported banned sterilised sterilized removed locked back"),
        (0.6, r"(?:white power|heil hitler|sieg heil|white supremacy is|hitler was right|the great replacement is)", "power heil supremacy hitler replacement"),
        (0.7, rf"(?:alle )?{_MENSCHEN} (?:sind|raus|gehören|sollten) (?:\w{{1,12}} ){{0,2}}(?:abschaum|ungeziefer|untermenschen|parasiten|dreck|ratten|vergast|abgeschoben|minderwertig)", "abschaum ungeziefer untermenschen parasiten dreck ratten vergast abgeschoben minderwertig"),
        (0.6, r"(?:ausländer raus|juden raus)", "raus"),
        (0.7, r"(?:sales?|tous les) (?:juifs?|arabes?|noirs?|musulmans?|pédés?|gitans?)(?: sont (?:des )?(?:rats|animaux|parasites|vermines?|inférieurs))?", "sale sales rats animaux parasites vermine vermines inférieurs"),
        (0.7, r"(?:odio a|son todos|putos|malditos) (?:los |las )?(?:judíos|negros|moros|gitanos|inmigrantes|maricones|musulmanes)", "odio putos malditos son"),
    ),
    *_phrases(
        "hate/threatening",
        (0.8, rf"(?:kill|gas|exterminate|lynch|slaughter|eradicate|hang|shoot|burn) (?:all )?(?:the |those |these )?{_PEOPLE}", "kill gas exterminate lynch slaughter eradicate hang shoot burn"),
        (0.8, rf"{_PEOPLE} (?:should|must|need to|deserve to) (?:all )?(?:die|be (?:killed|gassed|exterminated|shot|hanged|lynched|eradicated|burned|wiped out))", "die killed gassed exterminated shot hanged lynched eradicated burned wiped"),
        (0.8, rf"(?:alle )?{_MENSCHEN} (?:müssen|sollten|gehören|sollen) (?:\w{{1,10}} )?(?:sterben|vergast|erschossen|aufgehängt|umgebracht|vernichtet)", "sterben vergast erschossen aufgehängt umgebracht vernichtet"),
        (0.8, r"(?:mort aux|muerte a los|morte agli|morte aos) (?:juifs|arabes|noirs|musulmans|judíos|negros|moros|ebrei|judeus)", "mort muerte morte"),
    ),
    *_phrases(
        "illicit",
        (0.6, r"how (?:to|do i|can i|would i|does one) (?:\w{1,10} )?(?:make|cook|synthesi[sz]e|produce|manufacture|extract) (?:\w{1,12} ){0,2}(?:meth|methamphetamine|crystal meth|cocaine|heroin|fentanyl|lsd|mdma|ecstasy|dmt|ghb)", "meth methamphetamine cocaine heroin fentanyl lsd mdma ecstasy dmt ghb"),
        (0.6, r"(?:where|how) (?:to|can i|do i) (?:buy|get|order|sell) (?:\w{1,12} ){0,2}(?:cocaine|heroin|fentanyl|meth|stolen (?:credit )?cards?|fake (?:ids?|passports?)|counterfeit money)", "cocaine heroin fentanyl meth stolen fake counterfeit"),
        (0.6, r"how (?:to|do i|can i) (?:\w{1,10} )?(?:launder money|pick(?: a)? lock(?:s)? to (?:steal|break in)|hotwire a car|steal (?:a|someone's|somebody's) (?:car|identity|credit card|password)|forge (?:a|an) (?:passport|signature|id|prescription)|shoplift|evade taxes|hack into (?:a |an |my |someone's |somebody's )?\w{2,14})", "launder lock locks hotwire steal forge shoplift evade hack"),
        (0.55, r"(?:write|create|build|make|give) (?:me )?(?:a |some )?(?:\w{1,12} )?(?:ransomware|keylogger|phishing (?:e-?mail|page|site)|computer virus|botnet)", "ransomware keylogger phishing virus botnet"),
        (0.6, r"wie (?:kann ich|kann man|stelle ich|stellt man|kocht man|macht man) (?:\w{1,12} ){0,2}(?:meth|crystal|kokain|heroin|lsd|falschgeld|geld waschen|ausweise fälschen)", "meth crystal kokain heroin lsd falschgeld waschen fälschen"),
        (0.6, r"comment (?:fabriquer|faire|synthétiser|acheter) (?:\w{1,12} ){0,2}(?:méthamphétamine|cocaïne|héroïne|fausse monnaie|faux papiers)", "méthamphétamine cocaïne héroïne fausse faux"),
        (0.6, r"cómo (?:fabricar|hacer|sintetizar|comprar|blanquear) (?:\w{1,12} ){0,2}(?:metanfetamina|cocaína|heroína|dinero falso|dinero sucio|dinero)", "metanfetamina cocaína heroína dinero"),
    ),
    *_phrases(
        "illicit/violent",
        (0.8, r"how (?:to|do i|can i|would i|does one) (?:\w{1,10} )?(?:make|build|construct|assemble|create) (?:\w{1,12} ){0,2}(?:pipe ?bombs?|bombs?|explosives?|molotov cocktails?|molotovs?|nerve agents?|sarin|ricin|mustard gas|dirty bombs?|ied|silencers?|ghost guns?)", "bomb bombs pipebomb explosive explosives molotov molotovs nerve sarin ricin mustard ied silencer silencers ghost"),
        (0.8, r"(?:instructions|recipe|steps|guide|tutorial) (?:for|to|on) (?:mak(?:e|ing)|build(?:ing)?) (?:\w{1,12} ){0,2}(?:bombs?|explosives?|molotovs?|nerve agents?|sarin|ricin|ied)", "bomb bombs explosive explosives molotov molotovs nerve sarin ricin ied"),
        (0.75, r"(?:plan|carry out|commit|organi[sz]e|stage) (?:a |an )?(?:\w{1,12} )?(?:terror(?:ist)? attack|school shooting|mass shooting|massacre|bombing|assassination)", "attack shooting massacre bombing assassination"),
        (0.8, r"wie (?:baue ich|baut man|kann ich|kann man|bastelt man|bastle ich) (?:\w{1,12} ){0,2}(?:rohrbombe|bombe|sprengstoff|sprengsatz|molotowcocktail)", "rohrbombe bombe sprengstoff sprengsatz molotowcocktail"),
        (0.8, r"comment (?:fabriquer|faire|construire) (?:\w{1,12} ){0,2}(?:bombe|explosifs?|cocktail molotov)", "bombe explosif explosifs molotov"),
        (0.8, r"cómo (?:fabricar|hacer|construir) (?:\w{1,12} ){0,2}(?:bomba|explosivos?|cóctel molotov)", "bomba explosivo explosivos molotov"),
    ),
    *_phrases(
        "self-harm",
        (0.55, r"(?:self[- ]harm(?:ing)?|cutting myself|cut myself on purpose|hurting myself|starv(?:e|ing) myself|commit(?:ting|ted)? suicide)", "harm harming myself suicide"),
        (0.55, r"(?:mich (?:selbst )?(?:ritzen|verletzen|umbringen|töten)|selbstmord begehen|suizid begehen|selbstverletzung)", "ritzen verletzen umbringen töten selbstmord suizid selbstverletzung"),
        (0.55, r"(?:me suicider|se suicider|me scarifier|suicidarme|suicidarse|autolesionarme|cortarme las venas|suicidarmi|me cortar de propósito)", "suicider scarifier suicidarme suicidarse autolesionarme cortarme suicidarmi cortar"),
        (0.6, r"(?:kill yourself|kys|go hang yourself|you should (?:just )?die)", "yourself kys die"),
        (0.7, r"(?:自杀|自殺|自残|自傷)", "自杀 自殺 自残 自傷"),
    ),
    *_phrases(
        "self-harm/intent",
        (0.75, r"i (?:\w{1,10} )?(?:want|wanna|am going|'m going|plan|intend|have decided|am planning)(?: to)? (?:\w{1,10} )?(?:kill myself|die|end my life|end it all|commit suicide|hurt myself|cut myself|hang myself|overdose)", "myself die end suicide overdose"),
        (0.75, r"i(?:'m| am) (?:going to|gonna) (?:\w{1,10} )?(?:kill myself|end my life|end it all|commit suicide|hurt myself|cut myself|hang myself|overdose|jump off)", "myself end suicide overdose jump"),
        (0.6, r"(?:i don'?t want to (?:live|be alive|be here) any ?more|i wish i (?:was|were) dead|i(?:'d| would) be better off dead|no reason to (?:go on|live|keep living))", "live alive here dead reason"),
        (0.75, r"ich (?:\w{1,10} ){0,2}(?:will|möchte|werde) (?:\w{1,10} ){0,2}(?:sterben|mich umbringen|nicht mehr leben|mir das leben nehmen|mich töten)", "sterben umbringen leben töten"),
        (0.75, r"je (?:veux|vais|voudrais) (?:mourir|me tuer|me suicider|en finir|mettre fin à mes jours)", "mourir tuer suicider finir mettre"),
        (0.75, r"(?:me quiero (?:morir|matar)|quiero (?:morir|morirme|matarme|suicidarme|acabar con mi vida)|voy a (?:matarme|suicidarme))", "morir matar morirme matarme suicidarme acabar"),
        (0.75, r"(?:voglio (?:morire|uccidermi|farla finita)|quero (?:morrer|me matar))", "morire uccidermi farla morrer matar"),
    ),
    *_phrases(
        "self-harm/instructions",
        (0.8, r"(?:how (?:to|do i|can i|should i)|what is the (?:best|easiest|fastest) way to|(?:best|easiest|painless|quickest) (?:way|method|ways|methods) (?:to|of|for)) (?:\w{1,12} )?(?:kill(?:ing)? (?:myself|yourself)|commit(?:ting)? suicide|suicide|end(?:ing)? my (?:own )?life|hang(?:ing)? myself|overdose on|cut myself)", "myself yourself suicide end ending overdose"),
        (0.8, r"(?:wie (?:kann ich|bringe ich|begeht man|begehe ich)) (?:\w{1,12} ){0,2}(?:mich (?:selbst )?um(?:bringen)?|selbstmord|suizid)", "um umbringen selbstmord suizid"),
        (0.8, r"comment (?:me|se) (?:suicider|tuer|pendre)", "suicider tuer pendre"),
        (0.8, r"cómo (?:suicidarme|suicidarse|matarme|ahorcarme)", "suicidarme suicidarse matarme ahorcarme"),
    ),
    *_phrases(
        "sexual",
        (0.6, r"(?:blowjobs?|handjobs?|deepthroat|creampie|gangbang|cumshot|hardcore porn|anal sex|porn(?:o)? (?:video|movie|story|scene)s?|sex (?:scene|story|chat|tape|slave))", "blowjob blowjobs handjob handjobs deepthroat creampie gangbang cumshot porn porno anal sex"),
        (0.6, rf"(?:write|tell|describe|generate|show|send)(?: me)?(?: a| an| some| your| the)? (?:\w{{1,12}} )?(?:explicit sex|erotic (?:story|scene|fiction)|erotica|nudes?|porn|smut|{_SEXUAL} (?:story|scene|pictures?|photos?|roleplay))", "explicit erotic erotica nude nudes porn smut sex sexual nsfw naked"),
        (0.6, r"(?:suck(?:ing|ed)? (?:my|his|your) (?:cock|dick)|(?:wet|tight|dripping) (?:pussy|cunt)|fuck(?:s|ed|ing)? (?:me|her|him) (?:hard|harder|deep|from behind)|cum(?:s|ming)? (?:in|on|inside|all over) (?:me|her|him|my|his))", "cock dick pussy cunt fuck fucks fucked fucking cum cums cumming"),
        (0.6, r"(?:fick(?:e|en|t)? (?:mich|sie|ihn) (?:hart|härter)|erotische geschichte|sexgeschichte|porno(?:film|video)?|nacktbilder)", "ficke fick ficken fickt erotische sexgeschichte porno pornofilm pornovideo nacktbilder"),
        (0.6, r"(?:histoire érotique|film porno|baise-moi|relato erótico|historia erótica|video porno|racconto erotico|conto erótico)", "érotique porno baise erótico erótica erotico"),
        (0.6, r"(?:色情|エロ|ポルノ|порно)", "色情 エロ ポルノ порно"),
    ),
    *_phrases(
        "sexual/minors",
        (0.95, rf"{_SEXUAL}{_GAP}(?:with |of |involving |about |between |featuring )?(?:an? )?{_MINOR}", "sex sexual sexually porn pornography nude nudes naked erotic erotica nsfw orgasm orgasms blowjob blowjobs"),
        (0.95, rf"{_MINOR}{_GAP}{_SEXUAL}", "sex porn pornography nude nudes naked erotic erotica nsfw orgasm orgasms blowjob blowjobs"),
        (0.95, r"(?:child porn(?:ography)?|kiddie porn|cp (?:links?|videos?)|lolicon|jailbait|kinderporno(?:grafie|graphie)?|pédopornographie|pornografía infantil|pornografia infantil)", "child kiddie cp lolicon jailbait kinderporno kinderpornografie kinderpornographie pédopornographie pornografía pornografia"),
    ),
    *_phrases(
        "violence",
        (0.55, r"(?:kill|murder|stabb?|strangle?|shoot|behead|tortur|execut|massacr)(?:e|s|es|d|ed|ing)? (?:\w{1,10} ){0,2}(?:him|her|them|everyone|everybody|people|the (?:man|woman|victim|hostages?|children|prisoners?)|you|my (?:wife|husband|boss|neighbou?r|ex|mother|father|brother|sister|teacher|classmates))", "kill kills killed killing murder murders murdered murdering stab stabs stabbed stabbing strangle strangles strangled strangling shoot shoots shooting behead beheads beheaded torture tortures tortured torturing execute executed massacre massacred"),
        (0.55, r"(?:beat|beating|beats) (?:him|her|them|you|someone|somebody|people|my \w{2,10}) (?:up|to death|half to death|with a \w{2,10})", "beat beating beats"),
        (0.55, r"(?:bring(?:e|t|en)? (?:ihn|sie|dich|alle|meinen \w{2,12}|meine \w{2,12}) um|(?:erschieß|erstech|ermord|töte|folter)(?:e|en|t|n)? (?:ihn|sie|dich|alle|meinen|meine|menschen))", "bringe bring bringt bringen erschieße erschießen erschießt ersteche erstechen ermorde ermorden ermordet töte töten tötet foltere foltern"),
        (0.55, r"(?:tuer|assassiner|égorger|torturer|poignarder) (?:mon|ma|mes|tous|toutes|le|la|les|des) (?:gens|femme|mari|patron|voisins?|voisine|enfants|otages?|personnes)", "tuer assassiner égorger torturer poignarder"),
        (0.55, r"(?:matar|asesinar|apuñalar|torturar) a (?:mi|mis|todos|todas|los|las|la|el) (?:\w{2,12})", "matar asesinar apuñalar torturar"),
    ),
    *_phrases(
        "violence/graphic",
        (0.6, r"(?:blood (?:spray(?:ed|ing)|spurt(?:ed|ing)|gush(?:ed|ing)|pool(?:ed|ing))|(?:guts|intestines|entrails|brains) (?:spill(?:ed|ing)|hanging|splatter(?:ed|ing)|all over)|(?:slit|slitting|slashed) (?:his|her|their|your) throats?|(?:severed|ripped off|chopped off|hacked off|cut off) (?:his |her |their )?(?:head|limbs?|arms?|legs?|fingers)|disembowel(?:led|ling|ment)?|dismember(?:ed|ing|ment)?|decapitat(?:ed|ing|ion)|gouged? out (?:his|her|their) eyes?)", "blood guts intestines entrails brains slit slitting slashed severed ripped chopped hacked cut disembowel disembowelled disembowelling disembowelment dismember dismembered dismembering dismemberment decapitated decapitating decapitation gouge gouged"),
        (0.6, r"(?:blut (?:spritzte|strömte|floss)|(?:eingeweide|gedärme) (?:quollen|hingen)|abgetrennte[rnms]? (?:kopf|arm|bein|gliedmaßen)|(?:kehle) (?:durchgeschnitten|aufgeschlitzt))", "blut eingeweide gedärme abgetrennter abgetrennten abgetrennte abgetrenntes abgetrenntem kehle"),
    ),
)  # fmt: skip
