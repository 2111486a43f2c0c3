//! The script and the style that are put into a page. Fixed text but for what the user is told, which cannot leave its
//! string; without `<`, so nothing ends the element early.

use std::fmt::Write as _;

use crate::classify::ActivityType;

/// `M` is what is blocked, with what its user is told. Listens on the window before the page can. Copying with the
/// keyboard, a menu, `execCommand` or a button of the page ends in one of these events or calls.
const SCRIPT: &str = r#"
const own=document.currentScript,mark="style[data-portcullis]",css=(document.querySelector(mark)||{}).textContent;
let shown;
const tell=(d,k)=>{
 const r=d.documentElement;
 if(!r)return;
 if(shown)shown.remove();
 const n=shown=d.createElement("div");
 n.setAttribute("role","alert");
 n.textContent=M[k];
 n.style.cssText="all:initial;position:fixed;z-index:2147483647;right:1rem;bottom:1rem;max-width:24rem;padding:.8rem 1.2rem;border-radius:.4rem;background:#222;color:#fff;font:1rem/1.4 system-ui,sans-serif;white-space:pre-line";
 r.append(n);
 setTimeout(()=>n.remove(),6000);
};
const put=(o,n,f)=>{try{Object.defineProperty(o,n,{get:()=>f,set(){},configurable:false,enumerable:true})}catch(e){}};
const dress=d=>{
 if(!css||d.querySelector(mark))return;
 const s=d.createElement("style");
 s.setAttribute("data-portcullis","");
 s.textContent=css;
 (d.head||d.documentElement).append(s);
};
const seen=new WeakSet();
const guard=w=>{
 const d=w.document;
 if(seen.has(d))return;
 seen.add(d);
 const stop=(e,k)=>{e.preventDefault();e.stopImmediatePropagation();tell(d,k)};
 const on=(n,k,is)=>{if(k in M)w.addEventListener(n,e=>{if(!is||is(e))stop(e,k)},true)};
 on("copy","copy");
 on("cut","cut");
 on("paste","paste");
 on("beforeinput","paste",e=>/^insertFrom(Paste|Drop|Yank)/.test(e.inputType));
 on("dragstart","copy",e=>{const t=e.target,x=t.nodeType===1?t:t.parentElement;return!(x&&x.closest("[draggable=true]"))});
 on("keydown","print",e=>(e.ctrlKey||e.metaKey)&&!e.altKey&&String(e.key).toLowerCase()==="p");
 const c=w.Clipboard&&w.Clipboard.prototype;
 const refuse=k=>()=>{tell(d,k);return w.Promise.reject(new w.DOMException(M[k],"NotAllowedError"))};
 for(const [k,names] of [["copy",["write","writeText"]],["paste",["read","readText"]]])
  if(c&&k in M)for(const n of names)put(c,n,refuse(k));
 if("print" in M){
  put(w,"print",()=>tell(d,"print"));
  w.addEventListener("beforeprint",()=>dress(d),true);
 }
 w.addEventListener("load",e=>{
  try{const f=e.target&&e.target.contentWindow;if(f&&f.document){guard(f);dress(f.document)}}catch(x){}
 },true);
};
guard(window);
if(own)own.remove();
"#;

/// `told`: what is blocked, and what its user reads. ASCII.
pub(super) fn script<'a>(told: impl Iterator<Item = (ActivityType, &'a str)>) -> String {
    let told: Vec<String> =
        told.map(|(activity, told)| format!("{}:\"{}\"", activity.name(), quoted(told))).collect();
    format!("(()=>{{\"use strict\";const M={{{}}};{SCRIPT}}})()", told.join(","))
}

/// Of a printed page nothing is left but what its user is told. The selectors weigh more than a page's own.
pub(super) fn style(told: &str) -> String {
    let mut text = String::new();
    for letter in told.chars() {
        // Six digits, so that no letter behind them is taken for one (CSS Syntax section 4.3.7).
        if letter.is_ascii_alphanumeric() {
            text.push(letter)
        } else {
            let _ = write!(text, "\\{:06x}", u32::from(letter));
        }
    }
    format!(
        "@media print{{html:not(#_):not(#_)>*{{display:none!important}}html:not(#_):not(#_)::before{{all:initial!important;\
         display:block!important;padding:2em!important;font:16pt sans-serif!important;color:#000!important;\
         content:\"{text}\"!important}}}}"
    )
}

/// As it stands between the quotes of a string of JavaScript.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for unit in text.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some(letter) if letter.is_ascii_alphanumeric() || matches!(letter, ' ' | '.' | ',') => {
                out.push(letter)
            }
            _ => {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}
