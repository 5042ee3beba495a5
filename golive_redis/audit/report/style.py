"""The style of the page: readable on a screen of any width, in the dark, and on A4."""

STYLE = """
:root{--ink:#1b1f24;--soft:#57606a;--paper:#fff;--line:#d0d7de;--live:#1f5f8b;--reduced:#8fbce0;
--halted:#f2b84b;--stripe:#7a4b00;--bad:#b00020;--badback:#fdecee;--good:#0b6b3a;--warn:#7a4b00;--head:#f3f5f7}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--paper:#0f141a;
--line:#30363d;--live:#6cb6ff;--reduced:#2f6a9c;--halted:#e0a030;--stripe:#3a2500;--bad:#ff8a94;
--badback:#3b1219;--good:#6fdd8b;--warn:#e0a030;--head:#171d24}}
*{box-sizing:border-box}
html{color-scheme:light dark}
body{margin:0 auto;padding:1rem 1.25rem 4rem;max-width:70rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;padding-top:.4rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.2rem 0 .4rem}
p,li,dd,.w,code{overflow-wrap:anywhere}
th,td{overflow-wrap:break-word}
a{color:var(--live)}
code{font-family:ui-monospace,"DejaVu Sans Mono",Consolas,monospace;font-size:.9em}
.soft,.none,caption{color:var(--soft)}
.none{font-style:italic}
.verdict{border:2px solid currentColor;border-left-width:.6rem;border-radius:.3rem;padding:.7rem 1rem;
margin:1rem 0}
.verdict strong{font-size:1.15rem}
.bad{color:var(--bad);background:var(--badback)}
.good{color:var(--good)}
.warn{color:var(--warn)}
nav ul{columns:14rem;padding-left:1.2rem;margin:.5rem 0}
dl.sum{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.5rem;margin:0}
dl.sum div{border:1px solid var(--line);border-radius:.3rem;padding:.4rem .6rem}
dl.sum dt{font-size:.85rem;color:var(--soft)}
dl.sum dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto;margin:.6rem 0}
.wide:focus-visible{outline:2px solid var(--live)}
table{border-collapse:collapse;width:100%;font-size:.88rem}
caption{text-align:left;padding:.2rem 0}
th,td{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}
.w{min-width:10.5rem;max-width:26rem}
thead th{background:var(--head);border-bottom:2px solid var(--line)}
tbody th{font-weight:600}
.n{text-align:right}
td.n,time span,tbody th:not(.w){white-space:nowrap;font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:auto;margin:.6rem 0;font:11px system-ui,"DejaVu Sans",sans-serif}
svg text{fill:currentColor}
.grid{stroke:var(--line);fill:none}
.live-bar,.bar,.dot{fill:var(--live)}
.reduced{fill:var(--reduced)}.reduced-bar{fill:url(#reduced)}
.halted{fill:var(--halted)}.stripe{fill:var(--stripe)}.halted-bar{fill:url(#halted)}
.stop{fill:var(--bad)}
.tick{stroke:var(--live);stroke-width:2}.answer{stroke:var(--soft);stroke-width:1.5}
.key span{white-space:nowrap;margin-right:1.2rem}
.key svg{display:inline-block;width:1rem;height:1rem;margin:0 .3rem -.15rem 0}
@media (max-width:40rem){body{padding:.6rem .8rem 3rem;font-size:15px}table{font-size:.82rem}
.wide table,.wide svg{min-width:34rem}}
@page{size:A4;margin:14mm 12mm}
@media print{body{max-width:none;padding:0;font-size:9.5pt;line-height:1.35}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
h1{font-size:16pt}h2{font-size:12pt;break-after:avoid}h3{break-after:avoid}
nav{display:none}table{font-size:7.5pt}th,td{padding:.8mm 1mm}.w{min-width:22mm}
thead{display:table-header-group}tr,svg,.verdict,dl.sum div{break-inside:avoid}
.wide{overflow:visible}a{color:inherit;text-decoration:none}
dl.sum{grid-template-columns:repeat(6,1fr)}dl.sum dd{font-size:11pt}}
"""
