-- For the page: the first heading becomes its title; wide things scroll inside their own box, so that the page itself never does: tables, and figures
-- on a white card (they are drawn for white).
local function figure(image)
  local caption = image.caption
  image.caption = {pandoc.Str((pandoc.utils.stringify(caption):gsub("\u{a0}", " ")))}
  image.title = ""
  return {
    pandoc.RawBlock("html", "<figure><div class=\"card\">"), pandoc.Plain({image}),
    pandoc.RawBlock("html", "</div><figcaption>"), pandoc.Plain(caption), pandoc.RawBlock("html", "</figcaption></figure>")
  }
end

return {
  {
    Table = function(table) return pandoc.Div({table}, pandoc.Attr("", {"scroll"})) end,
    Para = function(paragraph)
      local image = paragraph.content[1]
      if #paragraph.content == 1 and image.t == "Image" then return figure(image) end
    end
  },
  {
    Pandoc = function(document)
      local first = document.blocks[1]
      if first and first.t == "Header" and first.level == 1 then
        document.meta.title = pandoc.MetaInlines(first.content)
        document.blocks:remove(1)
      end
      return document
    end
  }
}
