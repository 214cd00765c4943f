"""How a session looks to people.

shown        what is shown of an entry: who, what, folded or not. Pure, and without any markup
templates    HTML of it, and the policy under which a browser reads it
*.html, *.css, *.js    the templates themselves
"""
