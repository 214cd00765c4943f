"""Messages that would like to be more than text in a page. Each that runs says so: it marks the document."""

MARK = "document.documentElement.dataset.ran='yes'"
ELSEWHERE = "http://evil.example"

HOSTILE = [
    f"<script>{MARK}</script>",
    f"</script><script>{MARK}</script>",
    f"<!--<script>{MARK}</script>",
    f"</pre></div></details></article><script>{MARK}</script>",
    f"</style><script>{MARK}</script>",
    f"</title><script>{MARK}</script>",
    f'<img src=x onerror="{MARK}">',
    f'"><img src=x onerror="{MARK}">',
    f"' onmouseover='{MARK}' autofocus onfocus='{MARK}",
    f'" autofocus onfocus="{MARK}" x="',
    f'<svg onload="{MARK}">',
    f'<details open ontoggle="{MARK}">',
    f"<iframe srcdoc='<script>parent.{MARK}</script>'>",
    f"<math><mtext><style><img src=x onerror={MARK}></style>",
    f"javascript:{MARK}",
    f"data:text/html,<script>{MARK}</script>",
    f"{{{{ 7*7 }}}} {{% include 'page.css' %}} ${{{MARK}}}",
    f"<link rel=stylesheet href={ELSEWHERE}/style.css>",
    f"<img src={ELSEWHERE}/pixel.png>",
    f"<meta http-equiv=refresh content='0;url={ELSEWHERE}/'>",
    f"<base href={ELSEWHERE}/>",
    f"<form action={ELSEWHERE}/><button autofocus>",
    f"{ELSEWHERE}/pixel.png",
    "<plaintext>",
    "<noscript><textarea>",
    "]]><!-- \u2028 \u2029 --!>",
    "&lt;script&gt; &#60;b&#62; &amp;",
    "\u202eright to left\u202c \u0000\u0008\u001b[31m",
    "\ud800 half",
]
