"""Word files of the tests: one as python-docx writes it, and bodies of hand-written XML."""

from __future__ import annotations

import io

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

LONG = "long " * 60


def word_file() -> bytes:
    document = docx.Document()
    document.core_properties.title, document.core_properties.author = "Leave policy", "HR"
    document.sections[0].header.paragraphs[0].text = "Internal"
    document.add_heading("Leave", 0)
    document.add_paragraph("Everyone has leave.")
    document.add_heading("How much", 2)
    table = document.add_table(2, 3)
    for index, text in enumerate(["Role", "Days", "Note", "Any", "30", "a|b"]):
        table.cell(index // 3, index % 3).text = text
    document.add_paragraph("First", style="List Bullet")
    document.add_table(1, 2).cell(0, 0).merge(document.tables[1].cell(0, 1)).text = "wide"
    document.add_paragraph("Last.")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def word_body(xml: str, header: str = "") -> bytes:
    """A docx with this XML in its body and the first header."""
    document = docx.Document()
    for element, content in ((document.element.body, xml), (document.sections[0].header._element, header)):
        for child in reversed(parse_xml(f"<w:body {nsdecls('w')}>{content}</w:body>")):
            element.insert(0, child)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def p(*runs: str) -> str:
    """A paragraph; what is not yet XML becomes a run."""
    return f"<w:p>{''.join(run if run.startswith('<') else r(run) for run in runs)}</w:p>"


def r(text: str, tag: str = "t") -> str:
    return f'<w:r><w:{tag} xml:space="preserve">{text}</w:{tag}></w:r>'


def around(tag: str, content: str) -> str:
    """Content in a container; a content control has its own inside."""
    return f"<w:sdt><w:sdtContent>{content}</w:sdtContent></w:sdt>" if tag == "sdt" else f"<w:{tag}>{content}</w:{tag}>"


def tc(content: str, **properties: str) -> str:
    """A cell with properties that have a value, or none where it is empty."""
    given = "".join(f'<w:{name} w:val="{value}"/>' for name, value in properties.items())
    return f"<w:tc><w:tcPr>{given}</w:tcPr>{content}</w:tc>"


def tbl(*rows: str) -> str:
    return f"<w:tbl>{''.join(rows)}</w:tbl>"


def tr(*cells: str) -> str:
    return f"<w:tr>{''.join(cells)}</w:tr>"


DOWN = tc(p(), vMerge="continue")
