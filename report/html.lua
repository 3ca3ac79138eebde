-- Wide things scroll inside their own box, so that the page itself never does: tables, and figures on a white card (they are drawn for white).
function Table(table)
  return pandoc.Div({table}, pandoc.Attr("", {"scroll"}))
end

function Para(paragraph)
  local image = paragraph.content[1]
  if #paragraph.content == 1 and image.t == "Image" then
    local alt = pandoc.utils.stringify(image.caption)
    local caption = image.caption
    image.caption = {pandoc.Str(alt)}
    image.title = ""
    return {
      pandoc.RawBlock("html", "<figure><div class=\"card\">"), pandoc.Plain({image}),
      pandoc.RawBlock("html", "</div><figcaption>"), pandoc.Plain(caption), pandoc.RawBlock("html", "</figcaption></figure>")
    }
  end
end
